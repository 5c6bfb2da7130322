"""HTTP of models."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from latentmill.errors import InUse, InvalidRequest, LimitExceeded, StorageFault, StorageFull, UnsupportedMedia
from latentmill.specs import MeasuredExecution, VaeManifest
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
from service.models import operations
from service.models.tables import ModelRow
from service.resources import find, page
from service.uploads import Upload, discard, received
from service.waiting import Sight
from service.watching import states_of

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=Committing)
STATES = states_of(ModelRow)
FILES, FIELDS = frozenset({"file"}), frozenset({"expires_at", "expires_in", "metadata", "name"})
BODY = openapi.multipart({**openapi.EXPIRY_PARTS, "metadata": openapi.METADATA_PART, "name": openapi.NAME_PART})


class Model(Resource):
    """A registered VAE."""

    digest: str
    filename: str
    bytes: int
    expires_at: datetime | None  # deleted by itself from then on, once nothing at work needs it
    manifest: VaeManifest | None
    executions: dict[str, MeasuredExecution]


def model_of(row: ModelRow) -> Model:
    """The model as users see it."""
    return Model(
        **resource_fields(row, "model"),
        digest=row.digest,
        filename=row.filename,
        bytes=row.size_bytes,
        expires_at=row.expires_at,
        manifest=operations.manifest_of(row) if row.manifest is not None else None,
        executions=operations.executions_of(row),
    )


@router.post(
    "",
    status_code=202,
    response_model=Model,
    openapi_extra=BODY,
    responses={
        **openapi.begun(Model, twice="The same bundle under the same name is here already."),
        **openapi.problems(*openapi.CREATING, UnsupportedMedia, StorageFault, StorageFull),
    },
)
async def add_model(
    request: Request, services: ServicesOf, caller: CallerOf, idempotency_key: IdempotencyKey = None
) -> Response:
    """Upload a bundle. It is inspected by a worker; the same bytes under the same name give the same model."""
    async with received(request, services.storage, tenant_id=caller.tenant_id, files=FILES, fields=FIELDS) as upload:
        answer, kept = await services.turns.written(lambda: _add(services, caller, idempotency_key, upload))
    if not kept:
        await run_in_threadpool(discard, services.storage, upload)
    return answer.response()


def _add(services: Services, caller: Caller, idempotency_key: str | None, upload: Upload) -> tuple[Answer, bool]:
    """The answer, and whether the uploaded file is now the model's."""
    name = parsed_name(upload.fields.get("name"))
    metadata = parsed_metadata(upload.fields.get("metadata"))
    expiry = parsed_expiry(upload.fields)
    file = upload.files["file"]
    bundle = operations.Bundle(file.key, file.filename, file.size_bytes, file.sha256)
    kept, keep = False, services.settings.limits.of(caller.tenant).keep_uploads_seconds
    with writing(services, caller, idempotency_key) as transaction:

        def make() -> Answer:
            nonlocal kept
            session = transaction.session
            end = end_of(session, expiry, default_seconds=keep)
            row, kept = operations.add(session, caller.tenant_id, bundle, name, metadata, end)
            if kept:
                check_room(session, caller.tenant_id, services.settings)
            return created(model_of(row), path=f"/v1/models/{row.id}", new=kept)

        body: dict[str, Any] = {"file": file.sha256, "name": name, "metadata": metadata, **expiry.given()}
        answer = transaction.once("models", body, make)
    return answer, kept


@router.get("", response_model=Page[Model], responses=openapi.problems(InvalidRequest, LimitExceeded))
def list_models(reading: Reading, asked: PageOf) -> Page[Model]:
    """The models, newest first."""
    rows, cursor = page(reading.session, ModelRow, reading.tenant_id, limit=asked.limit, cursor=asked.cursor)
    return page_of([model_of(row) for row in rows], cursor)


@router.get(
    "/{model}",
    response_model=Model,
    responses=openapi.problems(*openapi.NAMED, InvalidRequest, LimitExceeded),
)
async def show_model(model: str, services: ServicesOf, caller: CallerOf, waiting: WaitingOf) -> Model:
    """One model by id or name; with `wait` once it is ready or rejected."""

    def read() -> Sight[Model]:
        with services.database.reading() as session:
            row = find(session, ModelRow, caller.tenant_id, model)
            return Sight(model_of(row), row.id, row.state, row.state in operations.SETTLED)

    return await waiting.settled(STATES, read, shared=(caller.tenant_id, model))


@router.delete("/{model}", response_model=Deleted, responses=openapi.problems(*openapi.NAMED, *openapi.CHANGING, InUse))
def delete_model(model: str, writing: Writing) -> Deleted:
    """Delete a model that nothing at work needs, with the encodings that were made with it."""
    row, keys = operations.delete(writing.session, writing.tenant_id, model)
    writing.outcomes.delete_files(writing.session, keys)
    writing.outcomes.deleted(writing.session, "model", row.id)
    return Deleted(object="model", id=row.id)
