"""A parquet file: its schema and footer, judged before any page is read, and its columns in batches."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from latentmill.errors import InvalidDataset, LimitExceeded
from workers.readers.labels import fixed_width
from workers.readers.source import ReadLimits, check_rows

MAX_GROUP_BYTES = 2 * 2**30
DAMAGED = (pa.ArrowException, OSError, UnicodeDecodeError)  # names of columns need not be text


def batches(
    path: Path, names: list[str], label: str | None, size: int, *, as_dictionaries: Sequence[str] = ()
) -> Iterator[pa.RecordBatch]:
    columns = names if label is None or label in names else [*names, label]
    try:
        # Text that repeats stays one text in memory, however often it is named.
        dictionaries = list(as_dictionaries)
        with pq.ParquetFile(path, page_checksum_verification=True, read_dictionary=dictionaries) as file:
            yield from file.iter_batches(size, columns=columns, use_threads=False)
    except DAMAGED as error:
        _raise_if_of_the_disk(error)
        raise InvalidDataset(f"The parquet file is damaged: {error}") from error


def schema_of(path: Path) -> tuple[pa.Schema, Any]:
    try:
        with pq.ParquetFile(path) as file:
            return file.schema_arrow, file.metadata
    except DAMAGED as error:
        _raise_if_of_the_disk(error)
        raise InvalidDataset(f"The parquet file cannot be read: {error}") from error


def _raise_if_of_the_disk(error: Exception) -> None:
    """Arrow reports damaged pages as OSError too, but without a number."""
    if isinstance(error, OSError) and error.errno is not None:
        raise error


def check_footer(metadata: Any, limits: ReadLimits) -> None:
    """Sizes as the footer states them, before any page is read."""
    if metadata.num_columns > limits.columns:
        raise LimitExceeded(f"{metadata.num_columns:,} columns; at most {limits.columns:,} are read")
    check_rows(metadata.num_rows, limits)
    groups = [metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)]
    if sum(groups) > limits.decompressed_bytes:
        raise LimitExceeded(f"The file takes {sum(groups):,} bytes; at most {limits.decompressed_bytes:,} are read")
    if max(groups, default=0) > MAX_GROUP_BYTES:
        raise LimitExceeded(f"A row group takes {max(groups):,} bytes; write row groups of at most {MAX_GROUP_BYTES:,}")


def labels_of(batch: pa.RecordBatch, label: str | None, row: int) -> NDArray[Any] | None:
    if label is None:
        return None
    column = batch.column(label)
    refuse_null(column, label, row)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type) or pa.types.is_floating(column.type):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return fixed_width(_texts(column, label), lambda i: row + i)
    raise InvalidDataset(f"The label column {label!r} holds {column.type}; labels are integers or text")


def _texts(column: pa.Array, label: str) -> list[str]:
    try:
        texts: list[str] = column.to_pylist()
    except UnicodeDecodeError as error:
        raise InvalidDataset(f"The label column {label!r} holds bytes that are no text in UTF-8: {error}") from error
    return texts


def refuse_null(column: pa.Array, name: str, row: int) -> None:
    if column.null_count:
        raise InvalidDataset(
            f"Row {row + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False))):,} has no value in "
            f"{name!r}; fill or drop missing values, or name the model (model) of a table whose column may miss them"
        )
