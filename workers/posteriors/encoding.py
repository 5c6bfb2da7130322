"""The posteriors (mean, std) of a dataset's rows under a model, as one safetensors file that is read in blocks."""

import json
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from latentmill.errors import DataError

DIGEST_BYTES = 16
MAX_STD = 1e6  # a larger std is an exploded head, and its square would drown every moment
BLOCK_VALUES = 2**21  # latent values that a pass over an encoding holds at once: 16 MiB in float64

_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "I32": np.dtype("<i4"), "U8": np.dtype("u1")}
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, eq=False)
class Encoding:
    """Row i has posterior N(mean[i], diag std[i]^2); arrays may be memory maps, so take blocks of them.

    mean, std: (N, D) float32; labels: (N,) int32 class numbers; row_digests: (N, 16) bytes that tell rows apart.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    labels: NDArray[np.int32] | None
    row_digests: NDArray[np.uint8]
    classes: tuple[str, ...] | None = None

    @property
    def rows(self) -> int:
        return len(self.mean)

    @property
    def latent_size(self) -> int:
        return int(self.mean.shape[1])

    def blocks(self) -> Iterator[slice]:
        """Ranges of rows that cover the encoding, each small enough to hold in float64."""
        step = max(1, BLOCK_VALUES // self.latent_size)
        for first in range(0, self.rows, step):
            yield slice(first, min(first + step, self.rows))

    def blocks_of(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """`rows` in parts, each small enough to hold in float64; sorted rows are read in the order of the file."""
        step = max(1, BLOCK_VALUES // self.latent_size)
        for first in range(0, len(rows), step):
            yield rows[first : first + step]


class EncodingWriter:
    """Fills the file of an encoding block by block, in order of rows; leaving with an error removes the file."""

    def __init__(
        self, path: Path, rows: int, latent_size: int, has_labels: bool, *, classes: Sequence[str] | None = None
    ) -> None:
        self.path, self.rows, self.latent_size, self.has_labels = path, rows, latent_size, has_labels
        header, self._starts = _layout(rows, latent_size, has_labels, classes)
        self._written = 0
        self._file: BinaryIO = path.open("wb")
        self._file.write(header)

    def write(
        self, first_row: int, mean: ArrayLike, std: ArrayLike, labels: ArrayLike | None, digests: ArrayLike
    ) -> None:
        """Write rows from `first_row`, which must be the next one: a gap would be read as zeros."""
        block = {"mean": _array(mean, "<f4"), "std": _array(std, "<f4"), "row_digests": _array(digests, "u1")}
        if labels is not None:
            block["labels"] = _array(labels, "<i4")
        count = len(block["mean"])
        if first_row != self._written or first_row + count > self.rows:
            raise ValueError(f"rows {first_row} to {first_row + count} of {self.rows}; next is {self._written}")
        widths: dict[str, tuple[int, ...]] = {
            "mean": (self.latent_size,),
            "std": (self.latent_size,),
            "row_digests": (DIGEST_BYTES,),
        }
        if self.has_labels:
            widths["labels"] = ()
        shapes = {name: array.shape for name, array in block.items()}
        if shapes != {name: (count, *width) for name, width in widths.items()}:
            raise ValueError(f"blocks of shapes {shapes}; wanted {count} rows of {widths}")
        _refuse_unusable(first_row, block["mean"], block["std"])
        for name, array in block.items():
            start = self._starts[name] + first_row * prod(widths[name]) * array.itemsize
            self._file.seek(start)
            self._file.write(array.tobytes())
        self._written += count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        complete = kind is None and self._written == self.rows
        if complete:
            self._file.flush()
            os.fsync(self._file.fileno())
        self._file.close()
        if not complete:
            self.path.unlink(missing_ok=True)
        if kind is None and not complete:
            raise ValueError(f"{self._written} of {self.rows} rows were written")


def encoding_bytes(rows: int, latent_size: int) -> int:
    """About how large the file of an encoding is: mean, std, class and digest of each row."""
    return rows * (4 * latent_size + 4 * latent_size + 4 + DIGEST_BYTES)


def save_encoding(encoding: Encoding, path: Path) -> None:
    """Write `encoding` to `path`."""
    has_labels = encoding.labels is not None
    with EncodingWriter(path, encoding.rows, encoding.latent_size, has_labels, classes=encoding.classes) as writer:
        for rows in encoding.blocks():
            labels = None if encoding.labels is None else encoding.labels[rows]
            writer.write(rows.start, encoding.mean[rows], encoding.std[rows], labels, encoding.row_digests[rows])


def open_encoding(path: Path) -> Encoding:
    """The encoding at `path`, memory-mapped: nothing but the header is read."""
    with path.open("rb") as file:
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        header: dict[str, Any] = json.loads(file.read(length))
    classes = json.loads(header.pop("__metadata__", {}).get("classes", "null"))
    arrays = {
        name: np.memmap(
            path,
            dtype=_DTYPES[entry["dtype"]],
            mode="r",
            offset=_LENGTH.size + length + entry["data_offsets"][0],
            shape=tuple(entry["shape"]),
        )
        for name, entry in header.items()
    }
    return Encoding(
        mean=arrays["mean"],
        std=arrays["std"],
        labels=arrays.get("labels"),
        row_digests=arrays["row_digests"],
        classes=None if classes is None else tuple(classes),
    )


def _layout(
    rows: int, latent_size: int, has_labels: bool, classes: Sequence[str] | None
) -> tuple[bytes, dict[str, int]]:
    """The header of the file, and where each array begins."""
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {
        "mean": ("F32", (rows, latent_size)),
        "std": ("F32", (rows, latent_size)),
    }
    if has_labels:
        shapes["labels"] = ("I32", (rows,))
    shapes["row_digests"] = ("U8", (rows, DIGEST_BYTES))
    header: dict[str, Any] = {}
    if classes is not None:
        header["__metadata__"] = {"classes": json.dumps(list(classes))}
    end = 0
    for name, (dtype, shape) in shapes.items():
        start, end = end, end + prod(shape) * _DTYPES[dtype].itemsize
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format wants arrays that begin at multiples of 8
    prefix = _LENGTH.pack(len(text)) + text
    return prefix, {name: len(prefix) + header[name]["data_offsets"][0] for name in shapes}


def _array(values: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
    return np.ascontiguousarray(values, dtype=dtype)


def _refuse_unusable(first_row: int, mean: NDArray[np.float32], std: NDArray[np.float32]) -> None:
    usable = np.isfinite(mean).all(axis=1) & ((std >= 0) & (std <= MAX_STD)).all(axis=1)  # NaN fails both
    if not usable.all():
        offset = int(np.argmin(usable))
        raise DataError(
            f"row {first_row + offset} encodes to means or stds that cannot be used (finite means, and stds from 0 "
            f"to {MAX_STD:g}, are needed): mean {mean[offset][:4]}, std {std[offset][:4]}"
        )
