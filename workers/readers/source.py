"""What every reader gives: rows in blocks, so that no file is ever in memory as a whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import InvalidDataset, LimitExceeded
from latentmill.specs.rows import Column

KeptType = Literal["uint8", "float32", "float64"]

BLOCK_BYTES = 4 * 2**20
MAX_ROW_VALUES = 2**24


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """How much a file may hold once it is read."""

    rows: int = 100_000_000
    decompressed_bytes: int = 16 * 2**30
    columns: int = 100_000
    classes: int = 100_000


@dataclass(frozen=True, slots=True)
class Block:
    """The next n rows (n, ...) as the file has them, and their labels (n,) where they stand in the same file."""

    rows: NDArray[Any]
    labels: NDArray[Any] | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """An open file: the shape of a row, how many rows its header promises (if it does), and the blocks.

    `layout` says where the channel axis of images stands, where the file says it; `warnings` are for who uploaded it.
    """

    row_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    blocks: Iterator[Block]
    rows: int | None = None
    columns: tuple[str, ...] | None = None
    has_labels: bool = False
    layout: Literal["HWC"] | None = None
    warnings: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None  # of the images that the rows were
    table: tuple[Column, ...] | None = None  # of typed rows, which are float64 as `as_floats` lays them out

    @property
    def kept_type(self) -> KeptType:
        """What the rows are kept in: uint8 stays (pixels 0..255), typed rows are float64, others float32."""
        if self.table is not None:
            return "float64"
        return "uint8" if self.dtype == np.uint8 else "float32"


def check_size(shape: tuple[int, ...], itemsize: int, limits: ReadLimits, what: str = "The array") -> None:
    """Refuses, by what a header says and before anything is read, what is empty, misshapen or too large."""
    if len(shape) < 2:
        raise InvalidDataset(f"{what} has the shape {shape}: rows need two axes or more, (rows, ...); reshape(-1, 1)?")
    if any(size < 0 for size in shape):
        raise InvalidDataset(f"{what} has the shape {shape}, with a negative size")
    if prod(shape) == 0:
        raise InvalidDataset(f"{what} has the shape {shape}: it holds no values")
    if prod(shape[1:]) > MAX_ROW_VALUES:
        raise LimitExceeded(f"A row of {prod(shape[1:]):,} values is too long; at most {MAX_ROW_VALUES:,} are read")
    check_rows(shape[0], limits)
    if prod(shape) * itemsize > limits.decompressed_bytes:
        raise LimitExceeded(
            f"{what} takes {prod(shape) * itemsize:,} bytes; at most {limits.decompressed_bytes:,} are read"
        )


def check_rows(rows: int, limits: ReadLimits) -> None:
    """Refuses more rows than the limit."""
    if rows > limits.rows:
        raise LimitExceeded(f"{rows:,} rows; at most {limits.rows:,} are read")


def rows_per_block(row_shape: tuple[int, ...], itemsize: int) -> int:
    """Rows of a block of a few MiB."""
    return max(1, BLOCK_BYTES // max(1, prod(row_shape) * itemsize))
