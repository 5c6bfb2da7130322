"""Downloads: whole files and ranges of them, with what a client needs to resume and to verify (RFC 9110, RFC 9530)."""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from latentmill.errors import NotFound, RangeNotSatisfiable, StorageFault
from service.problems import problem_response, request_id_of
from service.storage import Storage

RANGE = re.compile(r"bytes=(\d{0,4000})-(\d{0,4000})", re.IGNORECASE)
MEDIA_TYPES = {
    "json": "application/json",
    "md": "text/markdown; charset=utf-8",
    "npz": "application/zip",
    "parquet": "application/vnd.apache.parquet",
}


@dataclass(frozen=True)
class StoredFile:
    """A file that can be downloaded."""

    name: str
    key: str
    size_bytes: int
    sha256: str

    @property
    def etag(self) -> str:
        return f'"sha256-{self.sha256}"'


@dataclass(frozen=True)
class Span:
    """The bytes [start, stop) of a file."""

    start: int
    stop: int


def download(request: Request, storage: Storage, file: StoredFile, *, redirect: bool) -> Response:
    """The file, the part of it that is asked for, or where to find it."""
    headers = _headers(file)
    if matches(request.headers.get("if-none-match"), file.etag, weak=True):
        return Response(status_code=304, headers={name: headers[name] for name in ("ETag", "Cache-Control")})
    if redirect and request.method == "GET" and (url := storage.presign(file.key)) is not None:
        return RedirectResponse(url, 307)
    try:
        span = _asked(request, file)
    except RangeNotSatisfiable as error:
        return problem_response(error, request_id_of(request), {"Content-Range": f"bytes */{file.size_bytes}"})
    status = 200
    if span is None:
        span = Span(0, file.size_bytes)
    else:
        status = 206
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{file.size_bytes}"
    headers["Content-Length"] = str(span.stop - span.start)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    return StreamingResponse(_pieces(storage, file, span), status, headers)


def _headers(file: StoredFile) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(file.sha256)).decode()
    return {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, immutable, max-age=31536000",
        "Content-Disposition": f'attachment; filename="{file.name}"',
        "Content-Type": MEDIA_TYPES.get(file.name.rpartition(".")[2], "application/octet-stream"),
        "ETag": file.etag,
        "Repr-Digest": f"sha-256=:{digest}:",
    }


def _asked(request: Request, file: StoredFile) -> Span | None:
    """The range that is asked for; None for the whole file. What is no single range of bytes is ignored."""
    asked = RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    condition = request.headers.get("if-range")
    if asked is None or asked.groups() == ("", "") or request.method != "GET":
        return None
    if condition is not None and not matches(condition, file.etag, weak=False):
        return None  # the client holds a part of another file, so it gets this one whole
    first, last = asked.groups()
    if first == "":
        span = Span(max(file.size_bytes - int(last), 0), file.size_bytes)
    else:
        span = Span(int(first), min(int(last) + 1 if last else file.size_bytes, file.size_bytes))
        if last and int(last) < int(first):
            return None
    if span.start >= span.stop:
        raise RangeNotSatisfiable(f"{file.name} has {file.size_bytes:,} bytes.")
    return span


def matches(header: str | None, etag: str, *, weak: bool) -> bool:
    """Whether a header with ETags names this one (RFC 9110, section 8.8.3.2)."""
    if header is None:
        return False
    tags = [tag.strip() for tag in header.split(",")]
    if weak:
        tags, etag = [tag.removeprefix("W/") for tag in tags], etag.removeprefix("W/")
    return etag in tags or (weak and "*" in tags)


def _pieces(storage: Storage, file: StoredFile, span: Span) -> Iterator[bytes]:
    """The bytes, the first of them read already: a file that is missing is an error and not an empty answer."""
    try:
        pieces = storage.read(file.key, span.start, span.stop - span.start)
        first = next(pieces, b"")
    except NotFound as error:
        raise StorageFault(f"{file.name} is not in storage.") from error
    return chain([first], pieces)
