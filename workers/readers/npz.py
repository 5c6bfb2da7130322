"""npz: a zip of .npy arrays. Members are inflated block by block, against the size that their own headers promise."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import InvalidDataset
from latentmill.specs.pictures import PICTURES
from workers.readers.archive import check_member, opened_archive
from workers.readers.labels import one_axis
from workers.readers.npy import (
    Header,
    check_label_type,
    check_length,
    check_numbers,
    npy_blocks,
    read_header,
    stream_blocks,
)
from workers.readers.source import Block, ReadLimits, Source, check_rows, check_size

ROWS, LABELS, MEAN, STD = "rows", "labels", "mean", "std"
WITHOUT_STD = (
    "There is no array std: the latents count as points, as of an encoder without one (scale none), and families that "
    "draw around them, such as empirical, are refused."
)
WRITERS = "numpy.savez stores, numpy.savez_compressed deflates"


def open_npz(path: Path, limits: ReadLimits, *, label_column: str | None, scratch_dir: Path) -> Source:
    """Rows: the array `rows`, or the only one beside the labels. Labels: `label_column`, else `labels` if it is."""
    headers = read_headers(path)
    label_name = _label_member(headers, label_column)
    name = _rows_member(headers, label_name)
    header = headers[name]
    check_numbers(header.dtype, f"The array {name!r}")
    check_size(header.shape, header.dtype.itemsize, limits, f"The array {name!r}")
    rows = _array_blocks(path, name, header, scratch_dir)
    labels = None
    if label_name is not None:
        _check_labels(headers[label_name], label_name, header.shape[0])
        labels = _array_blocks(path, label_name, headers[label_name], scratch_dir)
    blocks = _together(rows, labels)
    return Source(header.shape[1:], header.dtype, blocks, rows=header.shape[0], has_labels=labels is not None)


def open_latents(path: Path, limits: ReadLimits, *, label_column: str | None, scratch_dir: Path) -> Source:
    """Posteriors: the arrays `mean` and `std`, (rows, ...) both, as rows of (2, ...). Without `std` they are points."""
    headers = read_headers(path)
    if MEAN not in headers:
        raise InvalidDataset(
            f"A dataset of latents holds the arrays mean and std; mean missing, there are {', '.join(headers)}"
        )
    mean, std = headers[MEAN], headers.get(STD)
    if std is not None and mean.shape != std.shape:
        raise InvalidDataset(f"mean has the shape {mean.shape} and std {std.shape}; they must be equal")
    for name in (MEAN, STD) if std is not None else (MEAN,):
        check_numbers(headers[name].dtype, f"The array {name!r}")
        check_size(mean.shape, 2 * headers[name].dtype.itemsize, limits, f"The array {name!r}")
    label_name = _label_member(headers, label_column)
    labels = None
    if label_name is not None:
        _check_labels(headers[label_name], label_name, mean.shape[0])
        labels = _array_blocks(path, label_name, headers[label_name], scratch_dir)
    return Source(
        (2, *mean.shape[1:]),
        np.result_type(mean.dtype, mean.dtype if std is None else std.dtype, np.float32),
        _together(_posteriors(path, mean, std, scratch_dir), labels),
        rows=mean.shape[0],
        has_labels=labels is not None,
        warnings=() if std is not None else (WITHOUT_STD,),
    )


def _posteriors(path: Path, mean: Header, std: Header | None, scratch_dir: Path) -> Iterator[NDArray[Any]]:
    """Means and stds side by side, (n, 2, ...); stds of 0 where there are none."""
    dtype = np.result_type(mean.dtype, mean.dtype if std is None else std.dtype, np.float32)
    stds = None if std is None else _Portions(_array_blocks(path, STD, std, scratch_dir))
    for means in _array_blocks(path, MEAN, mean, scratch_dir):
        spread = np.zeros_like(means) if stds is None else stds.take(len(means))
        yield np.stack([means, spread], axis=1).astype(dtype)


def npz_labels(path: Path, limits: ReadLimits) -> Iterator[NDArray[Any]]:
    """The labels in an npz: the array `labels`, or the only one."""
    headers = read_headers(path)
    name = LABELS if LABELS in headers else next(iter(headers))
    if len(headers) > 1 and name != LABELS:
        raise InvalidDataset(f"The labels' file holds the arrays {', '.join(headers)}; call the labels `labels`")
    header = headers[name]
    _check_labels(header, name, None)
    check_rows(header.shape[0], limits)
    return _array_blocks(path, name, header, path.parent)


def read_headers(path: Path) -> dict[str, Header]:
    """The arrays of the archive and what their headers say; only .npy members count."""
    with opened_archive(path) as archive:
        names = [member.filename for member in archive.infolist() if member.filename.endswith(".npy")]
        if not names:
            raise InvalidDataset(
                f"The archive holds no .npy array, as numpy.savez writes it, and no image ({PICTURES})"
            )
        if len(set(names)) < len(names):
            raise InvalidDataset("The archive holds two arrays of the same name")
        headers = {}
        for name in names:
            check_member(archive.getinfo(name), WRITERS)
            with archive.open(name) as member:
                header = read_header(member, f"The array {name.removesuffix('.npy')!r}")
            if not header.dtype.hasobject:
                given = archive.getinfo(name).file_size - header.size_bytes
                check_length(given, header.array_bytes, f"The array {name.removesuffix('.npy')!r}")
            headers[name.removesuffix(".npy")] = header
        return headers


def _label_member(headers: dict[str, Header], label_column: str | None) -> str | None:
    if label_column is None:
        return LABELS if LABELS in headers and len(headers) > 1 else None
    if label_column not in headers:
        raise InvalidDataset(f"There is no array {label_column!r} for the labels; there are {', '.join(headers)}")
    return label_column


def _rows_member(headers: dict[str, Header], labels: str | None) -> str:
    if ROWS in headers:
        return ROWS
    others = [name for name in headers if name != labels]
    if len(others) != 1:
        latents = "; of latents say so (kind: latents)" if MEAN in headers else ""
        names = ", ".join(headers)
        raise InvalidDataset(f"The archive holds the arrays {names}; call the one with the rows `rows`{latents}")
    return others[0]


def _check_labels(header: Header, name: str, rows: int | None) -> None:
    check_label_type(header.dtype, f"The array {name!r}")
    one_axis(header.shape, f"The labels {name!r}")
    if rows is not None and header.shape[0] != rows:
        raise InvalidDataset(f"There are {rows:,} rows, but {header.shape[0]:,} labels in {name!r}")


def _together(rows: Iterator[NDArray[Any]], labels: Iterator[NDArray[Any]] | None) -> Iterator[Block]:
    portions = None if labels is None else _Portions(labels)
    for block in rows:
        yield Block(block, None if portions is None else portions.take(len(block)))


class _Portions:
    """Rows of an array that comes in blocks, in the portions that are asked for."""

    def __init__(self, blocks: Iterator[NDArray[Any]]) -> None:
        self._blocks, self._rest = blocks, next(blocks)

    def take(self, count: int) -> NDArray[Any]:
        parts = [self._rest]
        while sum(map(len, parts)) < count:
            parts.append(next(self._blocks))
        rows = np.concatenate(parts)
        self._rest = rows[count:]
        return rows[:count]


def _array_blocks(path: Path, name: str, header: Header, scratch_dir: Path) -> Iterator[NDArray[Any]]:
    with opened_archive(path) as archive, archive.open(f"{name}.npy") as member:
        if header.fortran_order and len(header.shape) > 1:
            with TemporaryDirectory(dir=scratch_dir) as scratch:
                yield from _fortran_blocks(member, Path(scratch) / "array.npy", header)
            return
        read_header(member, name)
        yield from stream_blocks(member, header.shape, header.dtype, f"The array {name!r}")


def _fortran_blocks(member: IO[bytes], scratch: Path, header: Header) -> Iterator[NDArray[Any]]:
    """Columns first: no row is complete before the end, so the array is inflated to a file and mapped."""
    with scratch.open("wb") as file:
        shutil.copyfileobj(member, file, 2**20)
    check_length(scratch.stat().st_size - header.size_bytes, header.array_bytes, "The array")
    for block in npy_blocks(scratch, header):
        yield block.rows
