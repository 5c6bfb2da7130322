"""IDX, the format of MNIST: 00 00, a type, the number of axes, their sizes, then the values, all big-endian."""

import gzip
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import InvalidDataset
from workers.readers.labels import one_axis
from workers.readers.npy import check_length, stream_blocks
from workers.readers.source import Block, ReadLimits, Source, check_size

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_AXES = 6


def open_idx(path: Path, limits: ReadLimits, *, compressed: bool) -> Source:
    """Rows of an IDX file, gzipped or not."""
    shape, dtype = _header(path, compressed=compressed)
    check_size(shape, dtype.itemsize, limits, "The IDX file")
    blocks = (Block(rows) for rows in _values(path, shape, dtype, compressed=compressed))
    return Source(shape[1:], dtype, blocks, rows=shape[0])


def idx_labels(path: Path, *, compressed: bool) -> Iterator[NDArray[Any]]:
    """The labels in an IDX file of one axis."""
    shape, dtype = _header(path, compressed=compressed)
    one_axis(shape, "The labels")
    return _values(path, shape, dtype, compressed=compressed)


def _header(path: Path, *, compressed: bool) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with _opened(path, compressed=compressed) as file:
        head = file.read(4)
        if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in DTYPES or not 1 <= head[3] <= MAX_AXES:
            raise InvalidDataset(f"The file does not begin as IDX does (00 00, type, axes), but with {head.hex(' ')}")
        sizes = file.read(4 * head[3])
        if len(sizes) < 4 * head[3]:
            raise InvalidDataset("The IDX file ends inside its header; was it cut off on the way?")
    shape = struct.unpack(f">{head[3]}I", sizes)
    dtype = np.dtype(DTYPES[head[2]])
    if not compressed:
        header_bytes = 4 + 4 * len(shape)
        check_length(path.stat().st_size - header_bytes, prod(shape) * dtype.itemsize, "The IDX file")
    return shape, dtype


def _values(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], *, compressed: bool) -> Iterator[NDArray[Any]]:
    with _opened(path, compressed=compressed) as file:
        file.read(4 + 4 * len(shape))
        yield from stream_blocks(file, shape, dtype, "The IDX file")


@contextmanager
def _opened(path: Path, *, compressed: bool) -> Iterator[IO[bytes]]:
    with path.open("rb") as raw:
        if not compressed:
            yield raw
            return
        try:
            with gzip.GzipFile(fileobj=raw, mode="rb") as file:
                yield cast(IO[bytes], file)
        except EOFError as error:
            raise InvalidDataset("The gzip file ends too early; was it cut off on the way?") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise InvalidDataset(f"The gzip file is damaged: {error}") from error
