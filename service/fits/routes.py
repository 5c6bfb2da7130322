"""HTTP of fits."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from sqlalchemy.orm import Session
from starlette.responses import Response, StreamingResponse

from latentmill.errors import (
    InUse,
    InvalidLabels,
    InvalidRequest,
    LimitExceeded,
    ModelMismatch,
    NotFound,
    NotReady,
    StorageFault,
)
from latentmill.specs import Family, FitRequest
from service import examples, openapi
from service.answers import Answer, Deleted, Page, Resource, created, page_of, resource_fields
from service.datasets.tables import DatasetRow
from service.dependencies import CallerOf, Committing, Creating, PageOf, Reading, ServicesOf, WaitingOf, Writing
from service.fits import operations
from service.fits.tables import FitRow
from service.limits import check_room
from service.models.tables import ModelRow
from service.resources import find, find_id, page, waits_out, with_cause
from service.waiting import Sight
from service.watching import states_of

router = APIRouter(prefix="/v1/fits", tags=["fits"], route_class=Committing)
STATES = states_of(FitRow)
BINARY = "application/octet-stream"


class Fit(Resource):
    """An aggregate posterior, fitted to a dataset under a model."""

    state_reason: str | None
    model: str
    dataset: str
    family: Family
    by_label: bool
    holdout: float
    seed: int
    progress: float
    diagnostics: dict[str, Any] | None
    parameters_url: str | None
    parameters_digest: str | None
    started_at: datetime | None


def fit_of(session: Session, row: FitRow) -> Fit:
    """The fit as users see it."""
    request = FitRequest.model_validate(row.request)
    ready = row.state == "ready"
    return Fit(
        **resource_fields(row, "fit"),
        state_reason=_state_reason(session, row),
        model=row.model_id,
        dataset=row.dataset_id,
        family=operations.FAMILY.validate_python(row.family),
        by_label=request.by_label,
        holdout=request.holdout,
        seed=request.seed,
        progress=row.progress,
        diagnostics=row.diagnostics,
        parameters_url=f"/v1/fits/{row.id}/parameters" if ready else None,
        parameters_digest=row.parameters_digest,
        started_at=row.started_at,
    )


@router.post(
    "",
    status_code=202,
    response_model=Fit,
    responses={
        **openapi.begun(Fit, twice="The same request has this fit already."),
        **openapi.problems(*openapi.CREATING, NotFound, NotReady, InvalidLabels, ModelMismatch),
    },
)
def create_fit(body: Annotated[FitRequest, Body(openapi_examples=examples.FITS)], creating: Creating) -> Response:
    """Fit a density to a dataset's posteriors under a model. The same request gives the same fit."""

    def make() -> Answer:
        row, new = operations.create(creating.session, creating.tenant_id, body)
        if new:
            check_room(creating.session, creating.tenant_id, creating.settings)
        return created(fit_of(creating.session, row), path=f"/v1/fits/{row.id}", new=new)

    return creating.once("fits", body.canonical(), make).response()


@router.get("", response_model=Page[Fit], responses=openapi.problems(NotFound, InvalidRequest, LimitExceeded))
def list_fits(
    reading: Reading,
    asked: PageOf,
    model: Annotated[str | None, Query(description="Of this model only, by id or name.")] = None,
    dataset: Annotated[str | None, Query(description="Of this dataset only, by id or name.")] = None,
) -> Page[Fit]:
    """The fits, newest first."""
    session, tenant_id = reading.session, reading.tenant_id
    where = []
    if model is not None:
        where.append(FitRow.model_id == find_id(session, ModelRow, tenant_id, model))
    if dataset is not None:
        where.append(FitRow.dataset_id == find_id(session, DatasetRow, tenant_id, dataset))
    rows, cursor = page(session, FitRow, tenant_id, limit=asked.limit, cursor=asked.cursor, where=where)
    return page_of([fit_of(session, row) for row in rows], cursor)


@router.get("/{fit}", response_model=Fit, responses=openapi.problems(*openapi.NAMED, InvalidRequest, LimitExceeded))
async def show_fit(fit: str, services: ServicesOf, caller: CallerOf, waiting: WaitingOf) -> Fit:
    """One fit by id or name; with `wait` once it is ready or failed."""

    def read() -> Sight[Fit]:
        with services.database.reading() as session:
            row = find(session, FitRow, caller.tenant_id, fit)
            return Sight(fit_of(session, row), row.id, row.state, row.state in operations.SETTLED)

    return await waiting.settled(STATES, read, shared=(caller.tenant_id, fit))


@router.get(
    "/{fit}/parameters",
    response_class=Response,
    responses={
        200: openapi.answer("safetensors", content={BINARY: openapi.BINARY}, always=("Content-Disposition", "ETag")),
        **openapi.problems(*openapi.NAMED, NotReady, StorageFault),
    },
)
def fit_parameters(fit: str, reading: Reading) -> Response:
    """The fitted parameters, as safetensors."""
    row = find(reading.session, FitRow, reading.tenant_id, fit)
    data, key = operations.ready_parameters(row)
    headers = {
        "Content-Disposition": f'attachment; filename="{row.id}.safetensors"',
        "ETag": f'"sha256-{row.parameters_digest}"',
    }
    if key is not None:
        return StreamingResponse(reading.services.storage.read(key), headers=headers, media_type=BINARY)
    return Response(data, headers=headers, media_type=BINARY)


@router.delete("/{fit}", response_model=Deleted, responses=openapi.problems(*openapi.NAMED, *openapi.CHANGING, InUse))
def delete_fit(fit: str, writing: Writing) -> Deleted:
    """Delete a fit that nothing at work needs."""
    row, keys = operations.delete(writing.session, writing.tenant_id, fit)
    writing.outcomes.delete_files(writing.session, keys)
    return Deleted(object="fit", id=row.id)


def _state_reason(session: Session, row: FitRow) -> str | None:
    if row.state in operations.SETTLED:
        return None
    if row.state_reason is not None:
        return with_cause(session, ("fit", row.id), row.state_reason)
    return waits_out(session, row.id)
