"""HTTP of limits: what the caller's tenant may, and what it has."""

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from service import openapi
from service.dependencies import CallerOf, Reading, ServicesOf
from service.limits.usage import check_room, usage_of
from service.settings import RequestLimits, TenantLimits

router = APIRouter(tags=["service"])


class UsageShown(BaseModel):
    """What the tenant has at this moment."""

    stored_bytes: int
    planned_bytes: int
    running_jobs: int
    queued_jobs: int


class Limits(RequestLimits):
    """What the caller's tenant may have and ask for (null: no limit), and what it has."""

    tenant: str
    usage: UsageShown


@router.get("/v1/limits", response_model=Limits, responses=openapi.problems())
def limits(reading: Reading, services: ServicesOf, caller: CallerOf) -> Limits:
    """The limits of the caller's tenant, and how much of them is used."""
    shared = services.settings.limits.model_dump(include=set(RequestLimits.model_fields))
    own = services.settings.limits.of(caller.tenant).model_dump(include=set(TenantLimits.model_fields))
    usage = UsageShown(**vars(usage_of(reading.session, reading.tenant_id)))
    return Limits(**(shared | own), tenant=caller.tenant, usage=usage)


async def room_for_upload(request: Request, services: ServicesOf, caller: CallerOf) -> None:
    """Refuses an upload that the tenant has no room for, before its body is read."""
    if services.settings.limits.of(caller.tenant).stored_bytes is None:
        return  # without a hop to another thread
    size_bytes = int(request.headers["content-length"])  # admission has seen to that

    def check() -> None:
        with services.database.reading() as session:
            check_room(session, caller.tenant_id, services.settings, adding=size_bytes, lock=False)

    await run_in_threadpool(check)
