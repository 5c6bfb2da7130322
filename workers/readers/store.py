"""Rows as they are kept: rows.npy, uint8 or float32, finite, written block by block and hashed on the way."""

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import InvalidDataset

EXACT = 2**24  # integers up to here are exact in float32


class ArrayFile:
    """A .npy file that grows row by row; its header, which says how many, is written last and has the same length."""

    def __init__(self, path: Path, dtype: np.dtype[Any], row_shape: tuple[int, ...]) -> None:
        self.path = path
        self._dtype, self._row_shape = dtype, row_shape
        self._file: BinaryIO = path.open("wb")
        self._file.write(self._header(0))
        self._hash = hashlib.sha256()
        self.rows = 0

    def write(self, rows: NDArray[Any]) -> None:
        data = np.ascontiguousarray(rows, self._dtype).reshape(-1).view(np.uint8).data
        self._hash.update(data)
        self._file.write(data)
        self.rows += len(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def finish(self) -> str:
        """Completes the file; sha256 (hex) of its values."""
        self._file.seek(0)
        self._file.write(self._header(self.rows))
        self.close()
        return self._hash.hexdigest()

    def _header(self, rows: int) -> bytes:
        buffer = BytesIO()
        described = {"descr": self._dtype.str, "fortran_order": False, "shape": (rows, *self._row_shape)}
        np.lib.format.write_array_header_1_0(buffer, described)
        return buffer.getvalue()


def kept_rows(rows: NDArray[Any], first_row: int) -> NDArray[Any]:
    """`rows` in the dtype that is kept; what that dtype cannot hold is refused by its row.

    NaN, Inf, floats beyond float32, and integers beyond ±2^24, which float32 would change. Floats are rounded.
    """
    if rows.dtype == np.uint8:
        return rows
    if rows.dtype.kind in "iu" and rows.dtype.itemsize > 2:
        _refuse_row((rows > EXACT) | (rows < -EXACT), rows, first_row, _TOO_LARGE)
    with np.errstate(over="ignore", invalid="ignore"):
        kept = rows.astype(np.float32)
    finite = np.isfinite(kept)
    if not finite.all():
        _refuse_row(~np.isfinite(rows), rows, first_row, "rows must be finite: fill or drop missing values")
        _refuse_row(~finite, rows, first_row, "too large for float32")
    return kept


_TOO_LARGE = "integers beyond 16,777,216 change in float32; scale them, or upload floats if rounding is meant"


def _refuse_row(wrong: NDArray[np.bool_], rows: NDArray[Any], first_row: int, why: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong.reshape(len(rows), -1).any(axis=1)))
        column = int(np.argmax(wrong.reshape(len(rows), -1)[row]))
        value = rows.reshape(len(rows), -1)[row, column]
        raise InvalidDataset(f"Row {first_row + row:,} has the value {value} (its value number {column}): {why}")
