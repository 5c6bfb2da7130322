"""HTTP of previews."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from latentmill.errors import (
    Abandoned,
    DataError,
    Gone,
    InvalidLabels,
    InvalidRequest,
    LimitExceeded,
    ModelMismatch,
    NoReport,
    NotAcceptable,
    NotFound,
    NotReady,
    NotYet,
    OutOfMemory,
    StorageFault,
    TimeLimitExceeded,
    Unavailable,
)
from latentmill.specs import Execution, PreviewRequest, Strategy
from service import examples, openapi
from service.accept import preferred
from service.dependencies import CallerOf, ServicesOf, writing
from service.fits.tables import EncodingRow
from service.previews import operations
from service.previews.asking import JSON, PNG
from service.previews.waiting import answered, encoded

router = APIRouter(tags=["previews"])
RESOLVING: openapi.Errors = (
    NotFound,
    NotReady,
    NoReport,
    NotAcceptable,
    InvalidLabels,
    ModelMismatch,
    LimitExceeded,
    NotYet,
)
# A worker that makes the rows can meet all of these.
AT_WORK: openapi.Errors = (Unavailable, StorageFault, DataError, OutOfMemory, Abandoned, TimeLimitExceeded, Gone)


class Preview(BaseModel):
    """A few rows: images, series and tensors as nested lists, rows of a table as objects by column."""

    model_config = ConfigDict(protected_namespaces=())

    object: str
    model: str
    job: str | None
    strategy: Strategy
    seed: int
    output: str
    indices: list[int]
    row_kind: str
    dtype: str | None
    rows: list[Any]
    labels: list[str] | None
    latents: list[Any] | None
    execution: Execution
    warnings: list[str]


class StoredRows(BaseModel):
    """Rows of a job's committed shards, from `first` on."""

    object: str
    job: str
    first: int
    count: int
    row_kind: str
    dtype: str | None
    rows: list[Any]
    labels: list[str] | None
    latents: list[Any] | None


@router.post(
    "/v1/previews",
    response_model=Preview,
    responses={
        200: openapi.answer("The rows, as JSON or as one picture.", content={PNG: openapi.BINARY}),
        **openapi.problems(*openapi.POSTED, InvalidRequest, *RESOLVING, *AT_WORK),
    },
)
async def create_preview(
    body: Annotated[PreviewRequest, Body(openapi_examples=examples.PREVIEWS)],
    request: Request,
    services: ServicesOf,
    caller: CallerOf,
    accept: Annotated[str | None, Header(description=f"{JSON}, or {PNG} for images.")] = None,
) -> Response:
    """A few rows at once, by any strategy, or the very rows of a job; 503 when no worker takes it in time.

    What the request names must be ready; only an encoding that is missing is begun, and waited for a little.
    """
    media_type = preferred(accept, (JSON, PNG))

    def begin(encode: bool) -> tuple[str, bool]:
        with writing(services, caller, None) as transaction:
            begun = operations.begin(
                transaction.session, caller.tenant_id, body, media_type, services.settings, encode=encode
            )
            return begun.id, isinstance(begun, EncodingRow)

    begun_id, is_encoding = await services.turns.written(lambda: begin(True))
    if is_encoding:
        await encoded(request, services, begun_id)
        begun_id, _ = await services.turns.written(lambda: begin(False))
    return await answered(request, services, begun_id)


@router.get(
    "/v1/jobs/{job}/rows",
    response_model=StoredRows,
    responses=openapi.problems(*openapi.CHANGING, NotFound, NotReady, InvalidRequest, LimitExceeded, *AT_WORK),
)
async def show_rows(
    job: str,
    request: Request,
    services: ServicesOf,
    caller: CallerOf,
    first: Annotated[int, Query(ge=0, le=10**12, description="The number of the first row, counted from 0.")] = 0,
    count: Annotated[
        int,
        Query(
            ge=1,
            description="How many rows; fewer come where the job ends.",
            json_schema_extra={openapi.BOUND: "stored_rows"},
        ),
    ] = 100,
) -> Response:
    """Rows of the committed shards of a job, as JSON; 409 where one of them is not committed."""

    def begin() -> str:
        with writing(services, caller, None) as transaction:
            begun = operations.begin_reading(
                transaction.session, caller.tenant_id, job, first, count, services.settings
            )
            return begun.id

    return await answered(request, services, await services.turns.written(begin))
