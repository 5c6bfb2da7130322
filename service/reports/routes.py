"""HTTP of reports."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query
from pydantic import ConfigDict
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse, Response, StreamingResponse

from latentmill.errors import (
    InUse,
    InvalidLabels,
    InvalidRequest,
    LimitExceeded,
    ModelMismatch,
    NotAcceptable,
    NotFound,
    NotReady,
    StorageFault,
)
from latentmill.specs import ReportRequest
from service import examples, openapi
from service.accept import preferred
from service.answers import Answer, Deleted, Page, Resource, created, page_of, resource_fields, shown
from service.datasets.tables import DatasetRow
from service.dependencies import CallerOf, Committing, Creating, PageOf, Reading, ServicesOf, WaitingOf, Writing
from service.limits import check_room
from service.models.tables import ModelRow
from service.reports import operations
from service.reports.tables import ReportRow
from service.resources import find, find_id, page, waits_out, with_cause
from service.waiting import Sight
from service.watching import states_of
from service.work import needs

router = APIRouter(prefix="/v1/reports", tags=["reports"], route_class=Committing)
STATES = states_of(ReportRow)
JSON, HTML = "application/json", "text/html"
# The page shows names and rows that users chose. It stands alone: whatever it would fetch or run is not its own.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept",
}


class Report(Resource):
    """What was measured of each candidate, and the one to use. Before it is ready the candidates show what they are."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    state_reason: str | None
    model: str
    dataset: str
    reference: str | None
    rows: int
    seed: int
    holdout: float
    progress: float
    started_at: datetime | None
    page_url: str | None
    settings: dict[str, Any] | None = None
    mismatch: dict[str, Any] | None = None
    candidates: list[dict[str, Any]]
    floors: dict[str, Any] | None = None
    recommendation: dict[str, Any] | None = None


def report_of(session: Session, row: ReportRow) -> Report:
    """The report as users see it."""
    request = ReportRequest.model_validate(row.request)
    own = {
        **resource_fields(row, "report"),
        "state_reason": _state_reason(session, row),
        "model": row.model_id,
        "dataset": row.dataset_id,
        "reference": row.reference_id,
        "rows": request.rows,
        "seed": request.seed,
        "holdout": request.holdout,
        "progress": operations.progress_of(session, row),
        "started_at": row.started_at,
        "page_url": path_of(row) if row.state == "ready" else None,
    }
    return Report(**({"candidates": row.candidates or []} | (row.content or {}) | own))


def path_of(row: ReportRow) -> str:
    """The report's address."""
    return f"/v1/reports/{row.id}"


@router.post(
    "",
    status_code=202,
    response_model=Report,
    responses={
        **openapi.begun(Report),
        **openapi.problems(*openapi.CREATING, NotFound, NotReady, InvalidLabels, ModelMismatch),
    },
)
def create_report(
    body: Annotated[ReportRequest, Body(openapi_examples=examples.REPORTS)], creating: Creating
) -> Response:
    """Compare ways to sample a model, on rows held out of a dataset. Fits that it needs are made, and stay."""

    def make() -> Answer:
        row = operations.create(creating.session, creating.tenant_id, body)
        check_room(creating.session, creating.tenant_id, creating.settings)
        return created(report_of(creating.session, row), path=path_of(row), new=True)

    return creating.once("reports", body.canonical(), make).response()


@router.get("", response_model=Page[Report], responses=openapi.problems(NotFound, InvalidRequest, LimitExceeded))
def list_reports(
    reading: Reading,
    asked: PageOf,
    model: Annotated[str | None, Query(description="Of this model only, by id or name.")] = None,
    dataset: Annotated[str | None, Query(description="Of this dataset only, by id or name.")] = None,
) -> Page[Report]:
    """The reports, newest first."""
    session, tenant_id = reading.session, reading.tenant_id
    where = []
    if model is not None:
        where.append(ReportRow.model_id == find_id(session, ModelRow, tenant_id, model))
    if dataset is not None:
        where.append(ReportRow.dataset_id == find_id(session, DatasetRow, tenant_id, dataset))
    rows, cursor = page(session, ReportRow, tenant_id, limit=asked.limit, cursor=asked.cursor, where=where)
    return page_of([report_of(session, row) for row in rows], cursor)


@router.get(
    "/{report}",
    response_model=Report,
    responses={
        200: openapi.answer("As JSON, or as a page.", content={HTML: {"schema": openapi.TEXT}}),
        **openapi.problems(*openapi.NAMED, NotAcceptable, NotReady, InvalidRequest, LimitExceeded, StorageFault),
    },
)
async def show_report(
    report: str,
    services: ServicesOf,
    caller: CallerOf,
    waiting: WaitingOf,
    accept: Annotated[str | None, Header(description=f"{JSON}, or {HTML} for a page that stands alone.")] = None,
) -> Response:
    """One report by id or name; with `wait` once it is ready or failed."""
    media_type = preferred(accept, (JSON, HTML))

    def read() -> Sight[tuple[ReportRow, Report]]:
        with services.database.reading() as session:
            row = find(session, ReportRow, caller.tenant_id, report)
            return Sight((row, report_of(session, row)), row.id, row.state, row.state in operations.SETTLED)

    row, seen = await waiting.settled(STATES, read, shared=(caller.tenant_id, report))
    if media_type == HTML:
        stored_page = services.storage.read(operations.page_key_of(row))
        return StreamingResponse(stored_page, headers=PAGE_HEADERS, media_type=f"{HTML}; charset=utf-8")
    return JSONResponse(shown(seen), headers={"Vary": "Accept"})


@router.delete(
    "/{report}", response_model=Deleted, responses=openapi.problems(*openapi.NAMED, *openapi.CHANGING, InUse)
)
def delete_report(report: str, writing: Writing) -> Deleted:
    """Delete a report; the fits that were made for it stay."""
    row, keys = operations.delete(writing.session, writing.tenant_id, report)
    writing.outcomes.delete_files(writing.session, keys)
    return Deleted(object="report", id=row.id)


def _state_reason(session: Session, row: ReportRow) -> str | None:
    if row.state in operations.SETTLED:
        return None
    if waiting := needs.waiting_on(session, ("report", row.id)):
        reason = f"waiting for {', '.join(needed.id for needed in waiting)}"
        return with_cause(session, ("report", row.id), reason)
    return waits_out(session, row.id)
