"""HTTP of datasets."""

from dataclasses import replace
from datetime import datetime

from fastapi import APIRouter, Request
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from latentmill.errors import (
    InUse,
    InvalidRequest,
    LimitExceeded,
    ModelMismatch,
    NotFound,
    NotReady,
    StorageFault,
    StorageFull,
    UnsupportedMedia,
)
from latentmill.specs import DatasetColumn
from service import openapi
from service.answers import (
    Answer,
    Deleted,
    Page,
    Resource,
    created,
    page_of,
    parsed_metadata,
    parsed_name,
    resource_fields,
)
from service.datasets import operations
from service.datasets.tables import DatasetRow
from service.dependencies import (
    CallerOf,
    Committing,
    IdempotencyKey,
    PageOf,
    Reading,
    Services,
    ServicesOf,
    WaitingOf,
    Writing,
    writing,
)
from service.expiry import end_of, parsed_expiry
from service.keys.operations import Caller
from service.limits import check_room
from service.resources import find, page, waits_out, with_cause
from service.uploads import ReceivedFile, Upload, discard, received
from service.waiting import Sight
from service.watching import states_of
from service.work import needs

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], route_class=Committing)
STATES = states_of(DatasetRow)
FILES, FIELDS = (
    frozenset({"file", "labels"}),
    frozenset({"expires_at", "expires_in", "kind", "label_column", "metadata", "model", "name"}),
)
LABEL_COLUMN_CHARACTERS = 128
LABELS_OF_FILES = (
    "One label per row: npy, npz, csv, idx; of images also a csv of two columns, path and label. Not beside "
    "`label_column`."
)
ROWS_OF_FILES = (
    "npz (the array `rows`, or the only one), npy, parquet, csv, idx or idx.gz, or a zip of images: PNG, JPEG, WebP, "
    "BMP or GIF of 8 bits, all of one size and mode, in the order of their paths; where every image lies in a folder "
    "beside others, the folders' names are the labels. Columns of parquet and csv are numbers; where one is text, or "
    "`model` is named, they are typed: numbers, integers, booleans, categories, missing where a field is empty."
)
MODEL_CHARACTERS = 128
BODY = openapi.multipart(
    {
        "file": {**openapi.FILE, "description": ROWS_OF_FILES},
        "kind": {
            "enum": ["rows", "latents"],
            "default": "rows",
            "description": "latents: an npz of the arrays `mean` and `std`, for models without an encoder.",
        },
        "label_column": {
            "type": "string",
            "minLength": 1,
            "maxLength": LABEL_COLUMN_CHARACTERS,
            "pattern": r"^[^\x00]+$",
            "description": "The column or array of the file that holds the labels (without it: `labels`, if there is "
            "one); of a zip of images `folder`.",
        },
        "labels": {**openapi.FILE, "description": LABELS_OF_FILES},
        **openapi.EXPIRY_PARTS,
        "metadata": openapi.METADATA_PART,
        "model": {
            **openapi.TEXT,
            "minLength": 1,
            "maxLength": MODEL_CHARACTERS,
            "pattern": r"^[^\x00]+$",
            "description": "The table model, by id or name, whose columns the file has: it says what each field is, and"
            " what it could not encode is refused. A model that is still inspected is waited for.",
        },
        "name": openapi.NAME_PART,
    },
)


class Dataset(Resource):
    """Reference rows that a user uploaded."""

    state_reason: str | None
    kind: operations.DatasetKind
    filename: str
    bytes: int
    expires_at: datetime | None  # deleted by itself from then on, once nothing at work needs it
    rows: int | None
    row_shape: list[int] | None
    dtype: str | None
    model: str | None  # by whose columns the rows were read
    columns: list[str | DatasetColumn] | None  # names of numbers, or what the columns of typed rows hold
    layout: operations.Layout | None  # where the channel axis of images stands, where the file said it
    labels: dict[str, int] | None
    digest: str | None


def dataset_of(session: Session, row: DatasetRow) -> Dataset:
    """The dataset as users see it."""
    return Dataset(
        **resource_fields(row, "dataset"),
        state_reason=_state_reason(session, row),
        kind="latents" if row.kind == "latents" else "rows",
        filename=row.filename,
        bytes=row.size_bytes,
        expires_at=row.expires_at,
        rows=row.rows,
        row_shape=row.row_shape,
        dtype=row.dtype,
        model=row.model_id,
        columns=row.columns,
        layout=operations.layout_of(row),
        labels=dict(row.label_counts) if row.label_counts is not None else None,
        digest=row.digest,
    )


@router.post(
    "",
    status_code=202,
    response_model=Dataset,
    openapi_extra=BODY,
    responses={
        **openapi.begun(Dataset, twice="The same bytes with the same options are here already."),
        **openapi.problems(
            *openapi.CREATING, NotFound, NotReady, ModelMismatch, UnsupportedMedia, StorageFault, StorageFull
        ),
    },
)
async def add_dataset(
    request: Request, services: ServicesOf, caller: CallerOf, idempotency_key: IdempotencyKey = None
) -> Response:
    """Upload reference rows. A worker reads them; the same bytes with the same options give the same dataset."""
    async with received(request, services.storage, tenant_id=caller.tenant_id, files=FILES, fields=FIELDS) as upload:
        answer, kept = await services.turns.written(lambda: _add(services, caller, idempotency_key, upload))
    if not kept:
        await run_in_threadpool(discard, services.storage, upload)
    return answer.response()


def _add(services: Services, caller: Caller, idempotency_key: str | None, upload: Upload) -> tuple[Answer, bool]:
    """The answer, and whether the uploaded files are now the dataset's."""
    meant, expiry = _meant(upload), parsed_expiry(upload.fields)
    kept, keep = False, services.settings.limits.of(caller.tenant).keep_uploads_seconds
    with writing(services, caller, idempotency_key) as transaction:

        def make() -> Answer:
            nonlocal kept
            session = transaction.session
            end = end_of(session, expiry, default_seconds=keep)
            row, kept = operations.add(session, caller.tenant_id, replace(meant, expires_at=end))
            if kept:
                check_room(session, caller.tenant_id, services.settings)
            return created(dataset_of(transaction.session, row), path=f"/v1/datasets/{row.id}", new=kept)

        named = {} if meant.model is None else {"model": meant.model}
        body = {"dataset": meant.digest(None), **named, "metadata": meant.metadata, **expiry.given()}
        answer = transaction.once("datasets", body, make)
    return answer, kept


def _meant(upload: Upload) -> operations.DatasetUpload:
    kind = _kind(upload.fields.get("kind", "rows"))
    model = upload.fields.get("model")
    if model is not None and ("\0" in model or not 1 <= len(model) <= MODEL_CHARACTERS):
        raise InvalidRequest(
            f"model is an id or a name of 1 to {MODEL_CHARACTERS} characters, without NUL.", pointer="/model"
        )
    column = upload.fields.get("label_column")
    if column is not None and ("\0" in column or not 1 <= len(column) <= LABEL_COLUMN_CHARACTERS):
        raise InvalidRequest(
            f"label_column has 1 to {LABEL_COLUMN_CHARACTERS} characters, and no NUL.", pointer="/label_column"
        )
    if column is not None and "labels" in upload.files:
        raise InvalidRequest("Labels come from a file or from a column, not from both.", pointer="/label_column")
    return operations.DatasetUpload(
        file=_file(upload.files["file"]),
        kind=kind,
        labels=_file(upload.files["labels"]) if "labels" in upload.files else None,
        label_column=column,
        model=model,
        name=parsed_name(upload.fields.get("name")),
        metadata=parsed_metadata(upload.fields.get("metadata")),
    )


def _kind(text: str) -> operations.DatasetKind:
    match text:
        case "rows" | "latents":
            return text
    raise InvalidRequest(f"kind is rows or latents, not {text!r}.", pointer="/kind")


def _file(file: ReceivedFile) -> operations.DatasetFile:
    return operations.DatasetFile(file.key, file.filename, file.size_bytes, file.sha256)


@router.get("", response_model=Page[Dataset], responses=openapi.problems(InvalidRequest, LimitExceeded))
def list_datasets(reading: Reading, asked: PageOf) -> Page[Dataset]:
    """The datasets, newest first."""
    rows, cursor = page(reading.session, DatasetRow, reading.tenant_id, limit=asked.limit, cursor=asked.cursor)
    return page_of([dataset_of(reading.session, row) for row in rows], cursor)


@router.get(
    "/{dataset}",
    response_model=Dataset,
    responses=openapi.problems(*openapi.NAMED, InvalidRequest, LimitExceeded),
)
async def show_dataset(dataset: str, services: ServicesOf, caller: CallerOf, waiting: WaitingOf) -> Dataset:
    """One dataset by id or name; with `wait` once it is ready or rejected."""

    def read() -> Sight[Dataset]:
        with services.database.reading() as session:
            row = find(session, DatasetRow, caller.tenant_id, dataset)
            return Sight(dataset_of(session, row), row.id, row.state, row.state in operations.SETTLED)

    return await waiting.settled(STATES, read, shared=(caller.tenant_id, dataset))


@router.delete(
    "/{dataset}", response_model=Deleted, responses=openapi.problems(*openapi.NAMED, *openapi.CHANGING, InUse)
)
def delete_dataset(dataset: str, writing: Writing) -> Deleted:
    """Delete a dataset that nothing at work needs, its encodings, and the fits that hold its rows."""
    row, keys = operations.delete(writing.session, writing.tenant_id, dataset)
    writing.outcomes.delete_files(writing.session, keys)
    writing.outcomes.deleted(writing.session, "dataset", row.id)
    return Deleted(object="dataset", id=row.id)


def _state_reason(session: Session, row: DatasetRow) -> str | None:
    if row.state != "reading":
        return None
    if row.model_id is not None and (waiting := needs.waiting_on(session, ("dataset", row.id))):
        reason = f"waiting for {', '.join(needed.id for needed in waiting)}"
        return with_cause(session, ("dataset", row.id), reason)
    return waits_out(session, row.id)
