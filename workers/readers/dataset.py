"""Reads an uploaded dataset: any format in, rows.npy and labels.npy out."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import InvalidDataset, LimitExceeded
from latentmill.specs import DatasetColumn, TableRows, digest_of
from workers.disk import disk_errors
from workers.readers.csv_text import csv_labels, open_csv
from workers.readers.formats import format_of, spoken
from workers.readers.idx import idx_labels, open_idx
from workers.readers.images import open_images, shared_folder
from workers.readers.labels import LabelFile
from workers.readers.named_labels import named_labels, names_images
from workers.readers.npy import npy_labels, open_npy
from workers.readers.npz import npz_labels, open_latents, open_npz
from workers.readers.parquet import open_parquet
from workers.readers.source import Block, KeptType, ReadLimits, Source, check_rows
from workers.readers.store import ArrayFile, kept_rows
from workers.readers.typed import check_encoded

MAX_STD = 1e6


@dataclass(frozen=True, slots=True)
class DatasetContent:
    """What a dataset holds. `labels` counts the rows of each class, in the order of the classes' numbers.

    columns: of a table of typed rows what each holds, else the columns' names, where the file has them.
    rows_path: .npy (rows, *row_shape), uint8 or float32; float64 of typed rows, as `as_floats` lays them out; of a
    dataset of latents (rows, 2, *row_shape), means and stds. labels_path: .npy (rows,) int32, class numbers. `digest`
    is that of the content, whatever the file was. `layout` says where the channel axis of images stands, where the file
    said it.
    """

    rows: int
    row_shape: tuple[int, ...]
    dtype: KeptType
    labels: dict[str, int] | None
    digest: str
    columns: list[str] | list[DatasetColumn] | None
    layout: Literal["HWC"] | None
    warnings: list[str]
    rows_path: Path
    labels_path: Path | None


def read_dataset(
    path: Path,
    filename: str,
    *,
    kind: Literal["rows", "latents"] = "rows",
    label_column: str | None = None,
    labels_path: Path | None = None,
    labels_filename: str | None = None,
    table: TableRows | None = None,
    out_dir: Path,
    limits: ReadLimits | None = None,
) -> DatasetContent:
    """Reads the file at `path`, uploaded as `filename`, into `out_dir`; what cannot be read raises InvalidDataset.

    table: the columns of the model that the rows are for; what that model could not encode is refused, too.
    """
    limits = limits or ReadLimits()
    if labels_path is not None and label_column is not None:
        raise InvalidDataset("Labels come from a file or from label_column; this upload names both")
    with disk_errors("a dataset was read"), ExitStack() as files:
        has_labels_file = labels_path is not None
        source = _open(path, filename, kind, label_column, limits, out_dir, table, labels_beside=has_labels_file)
        if table is not None and source.table is None:
            check_encoded(table, source)
        check_kept(source.rows or 0, source, limits)
        rows_file = files.enter_context(ArrayFile(out_dir / "rows.npy", np.dtype(source.kept_type), source.row_shape))
        has_labels = source.has_labels or labels_path is not None
        label_file = files.enter_context(LabelFile(out_dir / "labels.npy", limits)) if has_labels else None
        for block in _checked(source, limits, is_latents=kind == "latents"):
            rows_file.write(block.rows)
            if label_file is not None and labels_path is None and block.labels is not None:
                label_file.write(block.labels)
        if label_file is not None and labels_path is not None:
            named = labels_filename or labels_path.name
            label_file.write_all(_labels_of(labels_path, named, rows_file.rows, limits, source.names))
        return _finished(source, rows_file, label_file, kind)


def _open(
    path: Path,
    filename: str,
    kind: str,
    label_column: str | None,
    limits: ReadLimits,
    out_dir: Path,
    table: TableRows | None,
    *,
    labels_beside: bool,
) -> Source:
    found = format_of(path, filename)
    if kind == "latents" and found != "npz":
        raise InvalidDataset(
            f"A dataset of latents is an npz with the arrays mean and std; {filename!r} is {spoken(found)}"
        )
    if label_column is not None and found in ("npy", "idx", "idx.gz"):
        raise InvalidDataset(f"{found} has no columns for label_column to name; upload labels as a file of their own")
    match found:
        case "npy":
            return open_npy(path, limits)
        case "npz":
            opened = open_latents if kind == "latents" else open_npz
            return opened(path, limits, label_column=label_column, scratch_dir=out_dir)
        case "parquet":
            return open_parquet(path, limits, label_column=label_column, table=table)
        case "csv":
            return open_csv(path, limits, label_column=label_column, table=table)
        case "idx" | "idx.gz":
            return open_idx(path, limits, compressed=found == "idx.gz")
        case "images":
            return open_images(path, limits, label_column=label_column, labels_beside=labels_beside)


def _labels_of(
    path: Path, filename: str, rows: int, limits: ReadLimits, images: tuple[str, ...] | None
) -> Iterator[NDArray[Any]]:
    match format_of(path, filename):
        case "npy":
            return npy_labels(path)
        case "npz":
            return npz_labels(path, limits)
        case "csv" if images is not None and names_images(path):
            return named_labels(path, images, shared_folder(images))
        case "csv":
            return csv_labels(path, rows)
        case "idx":
            return idx_labels(path, compressed=False)
        case "idx.gz":
            return idx_labels(path, compressed=True)
        case "parquet":
            raise InvalidDataset("Labels in parquet stand beside the rows, in the column label_column")
        case "images":
            raise InvalidDataset("Labels are no images; upload them as npy, npz, csv or idx, one a row")


def _checked(source: Source, limits: ReadLimits, *, is_latents: bool) -> Iterator[Block]:
    """The blocks in the dtype that is kept, every value of which can be used."""
    row = 0
    for block in source.blocks:
        # Headers were judged before; this counts what really came.
        check_kept(row + len(block.rows), source, limits)
        rows = block.rows if source.table is not None else kept_rows(block.rows, row)
        if is_latents:
            _check_stds(rows[:, 1], row)
        yield Block(rows, block.labels)
        row += len(rows)


def check_kept(rows: int, source: Source, limits: ReadLimits) -> None:
    """Refuses more than may be kept: a byte of the file may become the four of a float32."""
    check_rows(rows, limits)
    size_bytes = rows * prod(source.row_shape) * np.dtype(source.kept_type).itemsize
    if size_bytes > limits.decompressed_bytes:
        raise LimitExceeded(
            f"The rows take {size_bytes:,} bytes as they are kept; at most {limits.decompressed_bytes:,} are"
        )


def _check_stds(std: NDArray[Any], first_row: int) -> None:
    wrong = ((std < 0) | (std > MAX_STD)).reshape(len(std), -1).any(axis=1)
    if wrong.any():
        row = first_row + int(np.argmax(wrong))
        raise InvalidDataset(
            f"Row {row:,} has a std below 0 or above {MAX_STD:g}; it is exp(log_variance / 2), or the absolute value "
            "of what the encoder gives as std"
        )


def _finished(source: Source, rows_file: ArrayFile, label_file: LabelFile | None, kind: str) -> DatasetContent:
    if rows_file.rows == 0:
        raise InvalidDataset("The file holds no rows")
    row_shape = source.row_shape[1:] if kind == "latents" else source.row_shape
    dtype = source.kept_type
    described: dict[str, Any] = {"kind": kind, "rows": rows_file.rows, "row_shape": row_shape, "dtype": dtype}
    described["values"] = rows_file.finish()
    if source.layout is not None:
        described["layout"] = source.layout
    typed = None if source.table is None else [DatasetColumn.of(column) for column in source.table]
    if typed is not None:
        described["columns"] = [column.canonical() for column in typed]
    counts = None
    if label_file is not None:
        if label_file.rows != rows_file.rows:
            raise InvalidDataset(f"There are {rows_file.rows:,} rows, but {label_file.rows:,} labels")
        counts = label_file.finish()
        described["classes"] = list(counts)
        described["labels"] = label_file.digest
    return DatasetContent(
        rows=rows_file.rows,
        row_shape=row_shape,
        dtype=dtype,
        labels=counts,
        digest=digest_of(described),
        layout=source.layout,
        warnings=list(source.warnings),
        columns=typed or (None if source.columns is None else list(source.columns)),
        rows_path=rows_file.path,
        labels_path=None if label_file is None else label_file.path,
    )
