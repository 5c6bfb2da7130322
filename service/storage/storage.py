"""The seam to storage: bytes by key, each file there at once and whole, or not at all."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

PIECE_BYTES = 1024 * 1024

_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class StoredFile:
    """A file as a listing shows it."""

    key: str
    size_bytes: int
    modified_at: datetime


class Incoming(Protocol):
    """A file that arrives piece by piece, counted and hashed on the way."""

    @property
    def size_bytes(self) -> int: ...

    @property
    def sha256(self) -> str:
        """Of what has arrived so far, hex."""
        ...

    def write(self, data: bytes) -> None: ...

    def commit(self) -> None:
        """Publish the file; without this it is discarded when the `with` block ends."""
        ...


class Storage(Protocol):
    """Files by key. An OSError inside becomes StorageFull, StorageFault or NotFound."""

    def require_room(self, size_bytes: int) -> None:
        """Raises StorageFull unless so many bytes more can be stored without touching the reserve."""
        ...

    def require_to_go_on(self) -> None:
        """Raises StorageFull when what was begun must stop, because the reserve is half gone."""
        ...

    def put(self, key: str, path: Path) -> None:
        """Store the file at `path`, which may be deleted afterwards, but not written to: it may be the stored one.

        An existing key must hold the same bytes.
        """
        ...

    def put_bytes(self, key: str, data: bytes) -> None:
        """Store `data`; an existing key must hold the same bytes."""
        ...

    def receive(self, key: str) -> AbstractContextManager[Incoming]:
        """A file to write into, published by its `commit` and by nothing else."""
        ...

    def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The file's bytes from `start`, in pieces of at most a MiB."""
        ...

    def as_file(self, key: str) -> AbstractContextManager[Path]:
        """The file on this machine's disk, to be read and not changed."""
        ...

    def size_bytes(self, key: str) -> int | None:
        """The file's size, None when there is no such file."""
        ...

    def list(self, prefix: str) -> Iterator[StoredFile]:
        """The files whose keys begin with the folder `prefix`, sorted by key."""
        ...

    def folders(self, prefix: str) -> tuple[str, ...]:
        """The folders directly under the folder `prefix`, under the root where it is empty; sorted."""
        ...

    def delete(self, key: str) -> None:
        """Delete the file; that there is none is fine."""
        ...

    def delete_prefix(self, prefix: str) -> None:
        """Delete every file under the folder `prefix`."""
        ...

    def drop_if_empty(self, prefix: str) -> None:
        """Remove the folder `prefix` where nothing is in it; where folders are only parts of keys there is none."""
        ...

    def tidy(self) -> int:
        """Remove what writers that were killed never published; how many files."""
        ...

    def presign(self, key: str) -> str | None:
        """A URL that gives the file to whoever has it, None where the service must give it itself."""
        ...

    def check(self) -> None:
        """Raises StorageFault, or StorageFull where there is no room, when a file cannot be stored at present."""
        ...


def checked_key(key: str) -> str:
    """`key`, when it is one: parts of letters, digits and `._-` between slashes, none of them hidden or empty."""
    if len(key) > 512 or not all(_PART.fullmatch(part) for part in key.split("/")):
        raise ValueError(f"not a storage key: {key!r}")
    return key
