"""npy: a header that says dtype and shape, then the array's bytes."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import InvalidDataset
from workers.readers.labels import one_axis
from workers.readers.source import Block, ReadLimits, Source, check_size, rows_per_block

NUMBERS = "biuf"
LABELS = "biufSU"
MAX_HEADER_BYTES = 10_000  # what numpy itself takes from strangers
MAX_LABEL_BYTES = 2**16  # of one label in an array of text: all have the width of the longest

_LENGTH_BYTES = {(1, 0): 2, (2, 0): 4}


@dataclass(frozen=True, slots=True)
class Header:
    """What a .npy header says, and how many bytes it took."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    size_bytes: int

    @property
    def array_bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


def read_header(file: IO[bytes], what: str) -> Header:
    """The header at the start of `file`."""
    start = bytes(read_bytes(file, 8))
    version = tuple(start[6:])
    if len(start) < 8 or not start.startswith(np.lib.format.MAGIC_PREFIX):
        raise InvalidDataset(f"{what} has no valid .npy header")
    if version not in _LENGTH_BYTES:
        raise InvalidDataset(f"{what} has the .npy version {version}; numpy.save writes 1.0 or 2.0")
    packed = bytes(read_bytes(file, _LENGTH_BYTES[version]))
    length = int.from_bytes(packed, "little")
    if length > MAX_HEADER_BYTES:
        raise InvalidDataset(f"{what} has a .npy header of {length:,} bytes; at most {MAX_HEADER_BYTES:,} are read")
    text = bytes(read_bytes(file, length))
    shape, fortran_order, dtype = _parsed(packed + text, version, what)
    return Header(shape, dtype, fortran_order, len(start) + len(packed) + length)


def _parsed(header: bytes, version: tuple[int, ...], what: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a header of Python 2 is read all the same
            shape, fortran_order, dtype = read(BytesIO(header), max_header_size=MAX_HEADER_BYTES)
    except Exception as error:  # the text is Python, and whatever tokenizer, parser or numpy make of it is its fault
        raise InvalidDataset(f"{what} has no valid .npy header: {str(error)[:200]}") from error
    if not all(type(size) is int for size in shape):
        raise InvalidDataset(f"{what} has the shape {str(shape)[:80]}, which no array has")
    return tuple(shape), bool(fortran_order), dtype


def open_npy(path: Path, limits: ReadLimits) -> Source:
    """Rows of a .npy file."""
    with path.open("rb") as file:
        header = read_header(file, "The file")
    check_numbers(header.dtype, "The file")
    check_size(header.shape, header.dtype.itemsize, limits)
    check_length(path.stat().st_size - header.size_bytes, header.array_bytes, "The file")
    return Source(header.shape[1:], header.dtype, npy_blocks(path, header), rows=header.shape[0])


def npy_labels(path: Path) -> Iterator[NDArray[Any]]:
    """The labels in a .npy file of one axis."""
    with path.open("rb") as file:
        header = read_header(file, "The labels' file")
        check_label_type(header.dtype, "The labels' file")
        one_axis(header.shape, "The labels")
        yield from stream_blocks(file, header.shape, header.dtype, "The labels' file")


def npy_blocks(path: Path, header: Header) -> Iterator[Block]:
    """The rows of an uncompressed .npy file, in either order of its axes."""
    if header.fortran_order:
        array = np.memmap(path, header.dtype, "r", header.size_bytes, header.shape, order="F")
        step = rows_per_block(header.shape[1:], header.dtype.itemsize)
        for first in range(0, header.shape[0], step):
            yield Block(np.array(array[first : first + step], order="C"))
        return
    with path.open("rb") as file:
        file.seek(header.size_bytes)
        for rows in stream_blocks(file, header.shape, header.dtype, "The file"):
            yield Block(rows)


def stream_blocks(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], what: str) -> Iterator[NDArray[Any]]:
    """The rows of an array in C order as they come from `file`, which must end where the array ends."""
    step = rows_per_block(shape[1:], dtype.itemsize)
    row_bytes = prod(shape[1:]) * dtype.itemsize
    for first in range(0, shape[0], step):
        rows = min(step, shape[0] - first)
        data = read_bytes(file, rows * row_bytes)
        if len(data) < rows * row_bytes:
            check_length(first * row_bytes + len(data), shape[0] * row_bytes, what)
        yield np.frombuffer(data, dtype).reshape(rows, *shape[1:])
    if file.read(1):
        raise InvalidDataset(f"{what} goes on after the {shape[0] * row_bytes:,} bytes that its header promises")


def check_length(given: int, promised: int, what: str) -> None:
    """Refuses an array that is shorter or longer than its header says."""
    if given != promised:
        ends = "ends after" if given < promised else "has"
        raise InvalidDataset(
            f"{what} {ends} {given:,} bytes where its header promises {promised:,}; was it cut off on the way?"
        )


def check_numbers(dtype: np.dtype[Any], what: str) -> None:
    """Refuses what is not an array of real numbers."""
    check_no_pickle(dtype, what)
    if dtype.names is not None:
        raise InvalidDataset(f"{what} is a structured array; save its numbers as one array, or as csv or parquet")
    if dtype.kind not in NUMBERS:
        raise InvalidDataset(f"{what} holds values of type {dtype}; rows are real numbers")


def check_label_type(dtype: np.dtype[Any], what: str) -> None:
    """Refuses labels that can be none, by their type alone."""
    check_no_pickle(dtype, what)
    if dtype.kind not in LABELS or dtype.itemsize > MAX_LABEL_BYTES:
        raise InvalidDataset(f"{what} holds values of type {dtype}; labels are integers or text")


def check_no_pickle(dtype: np.dtype[Any], what: str) -> None:
    """Refuses arrays of Python objects."""
    if dtype.hasobject:
        raise InvalidDataset(f"{what} holds Python objects (a pickle), which are never loaded; save plain values")


def read_bytes(file: IO[bytes], size: int) -> bytearray:
    """`size` bytes, fewer only at the end of the file."""
    data = bytearray(size)
    view, filled = memoryview(data), 0
    while filled < size:
        piece = file.read(min(size - filled, 2**20))
        if not piece:
            return data[:filled]
        view[filled : filled + len(piece)] = piece
        filled += len(piece)
    return data
