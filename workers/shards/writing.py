"""Writes a shard in its format and says what was written."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from latentmill.errors import Internal, NotYet
from workers.disk import disk_errors
from workers.shards.npz import write_npz
from workers.shards.parquet import write_parquet
from workers.shards.schema import ShardBatch, ShardSchema

WRITERS = {"npz": write_npz, "parquet": write_parquet}


@dataclass(frozen=True, slots=True)
class WrittenShard:
    """A finished file: its size and digest are those of the bytes that went into it."""

    rows: int
    size_bytes: int
    sha256: str


class HashedFile:
    """A file that can only grow, and knows the digest of what it holds. Not seekable: what is hashed stays."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes | memoryview) -> int:
        self._hash.update(data)
        self._file.write(data)
        size = memoryview(data).nbytes
        self.size_bytes += size
        return size

    def flush(self) -> None:
        self._file.flush()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


def write_shard(format: str, path: Path, schema: ShardSchema, rows: int, batches: Iterable[ShardBatch]) -> WrittenShard:
    """Writes exactly `rows` rows from `batches` to `path`; after an error there is no file.

    The bytes depend on the rows and the schema alone: not on how the rows are cut into batches, nor on the clock.
    """
    if format not in WRITERS:
        raise NotYet(f"Shards in the format {format} cannot be written yet; take one of: {', '.join(WRITERS)}")
    with _no_half_file(path), disk_errors("a shard was written"), path.open("wb") as file:
        hashed = HashedFile(file)
        WRITERS[format](hashed, schema, rows, _exactly(rows, batches))
    return WrittenShard(rows, hashed.size_bytes, hashed.sha256)


def _exactly(rows: int, batches: Iterable[ShardBatch]) -> Iterator[ShardBatch]:
    """The batches, whose rows must add up: a header that promised `rows` is already written."""
    seen = 0
    for batch in batches:
        seen += batch.rows.rows
        if seen > rows:
            break
        yield batch
    if seen != rows:
        raise Internal(f"A shard of {rows:,} rows was given {seen:,}")


@contextmanager
def _no_half_file(path: Path) -> Iterator[None]:
    finished = False
    try:
        yield
        finished = True
    finally:
        if not finished:
            path.unlink(missing_ok=True)
