"""HTTP of limits: what the caller's tenant may, and what it has."""

from fastapi import APIRouter
from pydantic import BaseModel

from service import openapi
from service.dependencies import CallerOf, Reading, ServicesOf
from service.limits.usage import usage_of
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
