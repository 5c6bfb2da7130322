"""HTTP of a job's dataset folder: shards, manifest and the files beside it."""

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from latentmill.errors import InvalidRequest, LimitExceeded, NotReady, RangeNotSatisfiable, StorageFault
from service import openapi
from service.answers import Page, page_of
from service.dependencies import PageOf, Reading
from service.jobs.downloads import StoredFile, download
from service.jobs.finalizing import MANIFEST, stored_file
from service.jobs.schema import Shard, shard_of
from service.jobs.shards import find_shard, list_shards
from service.jobs.tables import JobRow
from service.resources import find, read_cursor, write_cursor

router = APIRouter(prefix="/v1/jobs/{job}", tags=["jobs"])
FILE_HEADERS = ("ETag", "Repr-Digest", "Content-Disposition", "Accept-Ranges")
CONTENT = {"*/*": openapi.BINARY}
HEAD: openapi.Responses = {
    200: openapi.answer("The whole file.", content=CONTENT, always=FILE_HEADERS),
    304: openapi.answer("You have it.", always=("ETag",)),
    **openapi.problems(*openapi.NAMED, NotReady, InvalidRequest),
}
GET: openapi.Responses = {
    **HEAD,
    206: openapi.answer("The range.", content=CONTENT, always=(*FILE_HEADERS, "Content-Range")),
    307: openapi.answer("Where to fetch it from, for a while.", always=("Location",)),
    **openapi.problems(*openapi.NAMED, NotReady, InvalidRequest, RangeNotSatisfiable, StorageFault),
}
IN_PLACE: openapi.Responses = {status: said for status, said in GET.items() if status not in {307, 422}}
SEEN = {"parameters": [openapi.header("If-None-Match", "ETags that you have; one of them again is 304.")]}
IN_RANGES = {
    "parameters": [
        *SEEN["parameters"],
        openapi.header("Range", "One range of bytes, `bytes=0-99`; anything else is ignored."),
        openapi.header("If-Range", "The ETag of what you hold a part of; another file comes whole."),
    ]
}
INDEX = re.compile(r"[0-9]{1,9}")
Redirect = Annotated[bool, Query(description="false: the bytes themselves, never an address to fetch them from.")]


@router.get(
    "/shards",
    response_model=Page[Shard],
    responses=openapi.problems(*openapi.NAMED, InvalidRequest, LimitExceeded),
)
def list_job_shards(job: str, reading: Reading, asked: PageOf) -> Page[Shard]:
    """The committed shards, by their number."""
    row = find(reading.session, JobRow, reading.tenant_id, job)
    after = _index(asked.cursor) if asked.cursor is not None else None
    shards = list_shards(reading.session, row, after=after, limit=asked.limit + 1)
    shown, more = shards[: asked.limit], len(shards) > asked.limit
    return page_of([shard_of(shard) for shard in shown], write_cursor(str(shown[-1].index)) if more else None)


@router.head("/shards/{index}", response_class=Response, responses=HEAD, openapi_extra=SEEN)
@router.get("/shards/{index}", response_class=Response, responses=GET, openapi_extra=IN_RANGES)
def download_shard(job: str, index: int, request: Request, reading: Reading, redirect: Redirect = True) -> Response:
    """A committed shard, whole or in ranges."""
    shard = find_shard(reading.session, find(reading.session, JobRow, reading.tenant_id, job), index)
    file = StoredFile(shard.name, shard.key, shard.size_bytes, shard.sha256)
    return download(request, reading.services.storage, file, redirect=redirect)


@router.head("/manifest", response_class=Response, responses=HEAD, openapi_extra=SEEN)
@router.get("/manifest", response_class=Response, responses=IN_PLACE, openapi_extra=IN_RANGES)
def download_manifest(job: str, request: Request, reading: Reading) -> Response:
    """The manifest of a job that has succeeded."""
    return _file(job, MANIFEST, request, reading, redirect=False)


@router.head("/files/{name}", response_class=Response, responses=HEAD, openapi_extra=SEEN)
@router.get("/files/{name}", response_class=Response, responses=GET, openapi_extra=IN_RANGES)
def download_file(job: str, name: str, request: Request, reading: Reading, redirect: Redirect = True) -> Response:
    """A file beside the shards: manifest.json, SHA256SUMS, README.md."""
    return _file(job, name, request, reading, redirect=redirect)


def _file(job: str, name: str, request: Request, reading: Reading, *, redirect: bool) -> Response:
    file = stored_file(find(reading.session, JobRow, reading.tenant_id, job), name)
    stored = StoredFile(name, file["key"], file["bytes"], file["sha256"])
    return download(request, reading.services.storage, stored, redirect=redirect)


def _index(cursor: str) -> int:
    position = read_cursor(cursor)
    if not INDEX.fullmatch(position):
        raise InvalidRequest("This is no cursor of this list.", pointer="/cursor")
    return int(position)
