"""HTTP of jobs."""

from typing import Annotated

from fastapi import APIRouter, Body, Header, Query
from starlette.responses import JSONResponse, Response, StreamingResponse

from latentmill.errors import (
    InvalidLabels,
    InvalidRequest,
    LimitExceeded,
    LimitReached,
    ModelMismatch,
    NoReport,
    NotFound,
    NotReady,
    NotRetryable,
    NotYet,
)
from latentmill.specs.requests import JobSubmission
from service import examples, openapi
from service.answers import RETRY_AFTER_SECONDS, Answer, Deleted, Page, created, page_of, shown
from service.dependencies import (
    CallerOf,
    Committing,
    Creating,
    PageOf,
    Reading,
    ServicesOf,
    Transaction,
    WaitingOf,
    Writing,
)
from service.expiry import end_of
from service.jobs import operations
from service.jobs.downloads import matches
from service.jobs.events import NUMBER, is_over, last_event_number, stream
from service.jobs.planning import plan
from service.jobs.schema import Job, JobPlan, etag_of, job_of, jobs_of, path_of, plan_answer
from service.jobs.states import LEFT_ALONE, TERMINAL, JobState
from service.jobs.tables import JobRow
from service.limits import limits_of
from service.models.tables import ModelRow
from service.resources import find, find_id, page
from service.waiting import Sight
from service.watching import states_of

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=Committing)
STATES = states_of(JobRow)
Asked = Annotated[JobSubmission, Body(openapi_examples=examples.JOBS)]
RESOLVING: openapi.Errors = (
    InvalidRequest, NotFound, NotReady, NoReport, InvalidLabels, ModelMismatch, LimitExceeded, NotYet,
)  # fmt: skip
SENT = ("Location", "ETag")
EVENT = {
    "type": "object",
    "description": "`id` counts the events of the job; `data` is JSON. Comments keep the line open.",
    "properties": {
        "id": {"type": "string", "pattern": f"^{NUMBER.pattern}$"},
        "event": {"enum": ["state", "shard", "progress"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}


@router.post(
    "",
    status_code=202,
    response_model=Job,
    responses={**openapi.begun(Job), **openapi.problems(*openapi.CREATING, *RESOLVING, LimitReached)},
)
def create_job(body: Asked, creating: Creating) -> Response:
    """Make rows. The job begins when all that it names is ready."""

    def make() -> Answer:
        session, settings = creating.session, creating.settings
        default = limits_of(session, creating.tenant_id, settings).keep_jobs_seconds
        expires_at = end_of(session, body, default_seconds=default)
        row = operations.submit(session, creating.tenant_id, body.job(), settings, expires_at)
        return created(job_of(session, row, settings), path=path_of(row), new=True)

    return creating.once("jobs", body.job().canonical() | body.given(), make).response()


@router.post("/plan", response_model=JobPlan, responses=openapi.problems(*openapi.POSTED, *RESOLVING))
def plan_job(body: Asked, reading: Reading) -> JobPlan:
    """What submitting this would make. Nothing is created."""
    return plan_answer(plan(reading.session, reading.tenant_id, body.job(), reading.settings))


@router.get("", response_model=Page[Job], responses=openapi.problems(NotFound, InvalidRequest, LimitExceeded))
def list_jobs(
    reading: Reading,
    asked: PageOf,
    state: Annotated[JobState | None, Query(description="In this state only.")] = None,
    model: Annotated[str | None, Query(description="Of this model only, by id or name.")] = None,
) -> Page[Job]:
    """The jobs, newest first."""
    session, tenant_id = reading.session, reading.tenant_id
    where = [JobRow.state == state] if state is not None else []
    if model is not None:
        where.append(JobRow.model_id == find_id(session, ModelRow, tenant_id, model))
    rows, cursor = page(session, JobRow, tenant_id, limit=asked.limit, cursor=asked.cursor, where=where)
    return page_of(jobs_of(session, rows, reading.settings), cursor)


@router.get(
    "/{job}",
    response_model=Job,
    responses={
        200: openapi.answer("The job.", always=("ETag",), sometimes=("Retry-After",)),
        304: openapi.answer("It is as you have it.", always=("ETag",), sometimes=("Retry-After",)),
        **openapi.problems(*openapi.NAMED, InvalidRequest, LimitExceeded),
    },
)
async def show_job(
    job: str,
    services: ServicesOf,
    caller: CallerOf,
    waiting: WaitingOf,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """One job by id or name; with `wait` once it has ended."""

    def read() -> Sight[tuple[Job, str]]:
        with services.database.reading() as session:
            row = find(session, JobRow, caller.tenant_id, job)
            seen = job_of(session, row, services.settings)
            return Sight((seen, etag_of(row, seen)), row.id, row.state, row.state in TERMINAL)

    seen, etag = await waiting.settled(STATES, read, shared=(caller.tenant_id, job))
    headers = {"ETag": etag}
    if seen.state not in TERMINAL:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if matches(if_none_match, etag, weak=True):
        return Response(status_code=304, headers=headers)
    return JSONResponse(shown(seen), headers=headers)


@router.post(
    "/{job}/cancel",
    status_code=202,
    response_model=Job,
    responses={
        200: openapi.answer("It is over, or as good as over, and is left alone.", Job, always=SENT),
        202: openapi.answer("It stops.", always=SENT, sometimes=("Retry-After",)),
        **openapi.problems(*openapi.NAMED, *openapi.POSTED),
    },
)
def cancel_job(job: str, writing: Writing) -> Response:
    """Stop a job within one batch of each of its workers. What is committed stays."""
    before = find(writing.session, JobRow, writing.tenant_id, job).state
    row = operations.cancel(writing.session, writing.tenant_id, job)
    writing.outcomes.settled(writing.session, "job", row.id)
    return _sent(writing, row, 200 if before in LEFT_ALONE else 202)


@router.post(
    "/{job}/retry",
    status_code=202,
    response_model=Job,
    responses={
        202: openapi.answer("It goes on.", always=(*SENT, "Retry-After")),
        **openapi.problems(*openapi.NAMED, *openapi.POSTED, NotRetryable, *RESOLVING, LimitReached),
    },
)
def retry_job(job: str, writing: Writing) -> Response:
    """Make what is missing of a failed or cancelled job."""
    return _sent(writing, operations.retry(writing.session, writing.tenant_id, job, writing.settings), 202)


@router.delete(
    "/{job}", status_code=202, response_model=Deleted, responses=openapi.problems(*openapi.NAMED, *openapi.CHANGING)
)
def delete_job(job: str, writing: Writing) -> Deleted:
    """Delete a job and its files; one that is at work is cancelled first."""
    row = operations.delete(writing.session, writing.tenant_id, job)
    writing.outcomes.settled(writing.session, "job", row.id)
    writing.outcomes.delete_folder(writing.session, operations.folder_of(row))
    return Deleted(object="job", id=row.id)


@router.get(
    "/{job}/events",
    response_class=StreamingResponse,
    responses={
        200: openapi.answer("As they happen.", content={"text/event-stream": {"schema": EVENT}}),
        204: openapi.answer("It is over, and you have all events."),
        **openapi.problems(*openapi.NAMED, InvalidRequest),
    },
)
def job_events(
    job: str,
    reading: Reading,
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            description="The last event that you have; the next one comes first.",
            json_schema_extra={"pattern": f"^({NUMBER.pattern})?$"},
        ),
    ] = None,
) -> Response:
    """What happens to the job, as server-sent events (state, shard, progress), until it has ended."""
    row = find(reading.session, JobRow, reading.tenant_id, job)
    after = last_event_number(last_event_id)
    if after > row.event_number:
        raise InvalidRequest(f"{row.id} has {row.event_number} events; Last-Event-ID says {after}.")
    if after and is_over(row, after):
        return Response(status_code=204)  # tells an EventSource not to come back
    return StreamingResponse(
        stream(reading.services.database, reading.services.watcher, row.id, after),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


def _sent(writing: Transaction, row: JobRow, status: int) -> Response:
    writing.session.flush()
    job = job_of(writing.session, row, writing.settings)
    headers = {"Location": path_of(row), "ETag": etag_of(row, job)}
    if job.state not in TERMINAL:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return JSONResponse(shown(job), status, headers)
