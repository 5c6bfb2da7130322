"""Uploads: multipart bodies, parsed as they arrive; files go to storage piece by piece, counted and hashed."""

from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool

from latentmill.errors import InvalidRequest, UnsupportedMedia
from service.database import new_id
from service.storage import Incoming, Storage

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

PIECE_BYTES = 1024 * 1024
FIELD_BYTES = 64 * 1024
FILENAME_CHARACTERS = 255


@dataclass(frozen=True)
class ReceivedFile:
    """A file that has arrived."""

    key: str
    filename: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Upload:
    """All that has arrived: files by the name of their part, other parts as text."""

    files: dict[str, ReceivedFile]
    fields: dict[str, str]


@asynccontextmanager
async def received(
    request: Request, storage: Storage, *, tenant_id: str, files: frozenset[str], fields: frozenset[str]
) -> AsyncIterator[Upload]:
    """The upload in `request`, stored. Its files are deleted again when the block fails."""
    reader = _Reader(_boundary(request), storage, tenant_id, files, fields)
    try:
        # Storage is written on other threads, a good piece at a time.
        pieces = bytearray()
        async for piece in request.stream():
            pieces += piece
            if len(pieces) >= PIECE_BYTES:
                await run_in_threadpool(reader.feed, bytes(pieces))
                pieces.clear()
        upload = await run_in_threadpool(reader.finish, bytes(pieces))
    finally:
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(reader.close)
    try:
        yield upload
    except BaseException:
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(discard, storage, upload)
        raise


def discard(storage: Storage, upload: Upload) -> None:
    """Delete the files of an upload that nothing is made of."""
    for file in upload.files.values():
        storage.delete(file.key)


class _Part:
    """The part that is arriving: a file, or a short text."""

    def __init__(
        self, name: str, filename: str | None, key: str, incoming: Incoming | None, may_go_on: Callable[[], None]
    ) -> None:
        self.name = name
        self.filename = filename
        self.key = key
        self.incoming = incoming
        self.may_go_on = may_go_on
        self.text = bytearray()

    def write(self, data: bytes) -> None:
        if self.incoming is not None:
            self.may_go_on()  # others write too: what was there at the door may be gone
            self.incoming.write(data)
            return
        self.text += data
        if len(self.text) > FIELD_BYTES:
            raise InvalidRequest(f"{self.name} is longer than {FIELD_BYTES:,} bytes.", pointer=f"/{self.name}")


class _Reader:
    """Feeds the parser, whose callbacks write to storage as they are called."""

    def __init__(
        self, boundary: bytes, storage: Storage, tenant_id: str, files: frozenset[str], fields: frozenset[str]
    ) -> None:
        self._storage = storage
        self._tenant_id = tenant_id
        self._files = files
        self._fields = fields
        self._open = ExitStack()
        self._parts: dict[str, _Part] = {}
        self._part: _Part | None = None
        self._disposition = b""
        self._header_name, self._header_value = bytearray(), bytearray()
        self._ended = False
        self._parser = MultipartParser(boundary, self._callbacks())

    def feed(self, data: bytes) -> None:
        """The next bytes of the body."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise InvalidRequest(f"The multipart body is not well formed: {error}") from error

    def finish(self, data: bytes) -> Upload:
        """The last bytes of the body: the files are published."""
        self.feed(data)
        if not self._ended:
            raise InvalidRequest("The multipart body ends before its closing boundary.")
        if "file" not in self._parts:
            raise InvalidRequest("The part `file` is missing.", pointer="/file")
        fields = {name: _text(part) for name, part in self._parts.items() if part.incoming is None}
        files: dict[str, ReceivedFile] = {}
        try:
            for name, part in self._parts.items():
                if (incoming := part.incoming) is not None:
                    incoming.commit()
                    files[name] = ReceivedFile(part.key, part.filename or name, incoming.size_bytes, incoming.sha256)
        except BaseException:
            discard(self._storage, Upload(files, {}))
            raise
        return Upload(files, fields)

    def close(self) -> None:
        """Let go of what was not published."""
        self._open.close()

    def _callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header_name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._open_part,
            "on_part_data": self._write,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._part, self._disposition = None, b""

    def _end_header(self) -> None:
        if bytes(self._header_name).lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _open_part(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name in self._parts:
            raise InvalidRequest(f"The part {name!r} comes twice.", pointer=f"/{name}")
        if name not in self._files | self._fields:
            known = ", ".join(sorted(self._files | self._fields))
            raise InvalidRequest(f"There is no part {name!r} here; there are {known}.", pointer=f"/{name}")
        filename = options.get(b"filename", b"").decode("utf-8", "replace").replace("\0", "")[-FILENAME_CHARACTERS:]
        key, incoming = f"{self._tenant_id}/uploads/{new_id('upl')}", None
        if name in self._files:
            incoming = self._open.enter_context(self._storage.receive(key))
        self._part = self._parts[name] = _Part(name, filename or None, key, incoming, self._storage.require_to_go_on)

    def _write(self, data: bytes, start: int, end: int) -> None:
        if self._part is not None:
            self._part.write(data[start:end])

    def _end(self) -> None:
        self._ended = True


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 1 <= len(boundary) <= 70:
        raise UnsupportedMedia("The body must be multipart/form-data, with the file in the part `file`.")
    return boundary


def _text(part: _Part) -> str:
    try:
        return part.text.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{part.name} is not text in UTF-8.", pointer=f"/{part.name}") from error
