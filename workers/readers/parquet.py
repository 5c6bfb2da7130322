"""parquet: columns of numbers, or one column of lists of equal length, and perhaps a column of labels."""

import json
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from latentmill.errors import InvalidDataset, LimitExceeded
from workers.readers.labels import fixed_width
from workers.readers.source import MAX_ROW_VALUES, Block, ReadLimits, Source, check_rows, rows_per_block

ROWS, LABELS = "rows", "labels"
MAX_GROUP_BYTES = 2 * 2**30
DAMAGED = (pa.ArrowException, OSError, UnicodeDecodeError)  # names of columns need not be text


def open_parquet(path: Path, limits: ReadLimits, *, label_column: str | None) -> Source:
    """Rows: the column `rows` if it holds lists, or all columns but the labels. Labels: `label_column`, or `labels`."""
    schema, metadata = _schema(path)
    _check_footer(metadata, limits)
    label = _label(schema, label_column)
    others = [name for name in schema.names if name != label]
    lists = [name for name in others if _is_list(schema.field(name).type)]
    if lists:
        name = ROWS if ROWS in lists else lists[0]
        if name != ROWS and len(others) > 1:
            raise InvalidDataset(f"Lists are rows only in a column `rows`; there are {', '.join(others[:8])}")
        return _open_lists(path, schema, metadata.num_rows, name, label)
    for name in others:
        if not _is_number(schema.field(name).type):
            raise InvalidDataset(
                f"The column {name!r} holds {schema.field(name).type}, not numbers; name it as label_column, or drop it"
            )
    if not others:
        raise InvalidDataset("There is no column of numbers beside the labels")
    dtype = np.result_type(*[schema.field(name).type.to_pandas_dtype() for name in others])
    blocks = _column_blocks(path, others, label, dtype)
    has_labels = label is not None
    return Source((len(others),), dtype, blocks, metadata.num_rows, columns=tuple(others), has_labels=has_labels)


def _open_lists(path: Path, schema: pa.Schema, rows: int, name: str, label: str | None) -> Source:
    kind = schema.field(name).type
    shape = _stored_shape(schema, name) or (_list_length(path, name, kind),)
    if pa.types.is_fixed_size_list(kind) and prod(shape) != kind.list_size:
        raise InvalidDataset(f"The file says that {name!r} has the shape {shape}, but its lists hold {kind.list_size}")
    if not 0 < prod(shape) <= MAX_ROW_VALUES:
        raise LimitExceeded(f"A row of {prod(shape):,} values; 1 to {MAX_ROW_VALUES:,} are read")
    dtype = np.dtype(kind.value_type.to_pandas_dtype())
    blocks = _list_blocks(path, name, label, shape, dtype)
    return Source(shape, dtype, blocks, rows, has_labels=label is not None)


def _column_blocks(path: Path, names: list[str], label: str | None, dtype: np.dtype[Any]) -> Iterator[Block]:
    row = 0
    for batch in _batches(path, names, label, rows_per_block((len(names),), dtype.itemsize)):
        rows = np.empty((batch.num_rows, len(names)), dtype)
        for i, name in enumerate(names):
            column = batch.column(name)
            _refuse_null(column, name, row)
            rows[:, i] = column.to_numpy(zero_copy_only=False)
        yield Block(rows, _labels(batch, label, row))
        row += batch.num_rows


def _list_blocks(
    path: Path, name: str, label: str | None, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Iterator[Block]:
    row = 0
    for batch in _batches(path, [name], label, rows_per_block(shape, dtype.itemsize)):
        column = batch.column(name)
        _refuse_null(column, name, row)
        values = column.flatten()
        _refuse_null(values, name, row)
        if not pa.types.is_fixed_size_list(column.type):
            lengths = column.value_lengths().to_numpy(zero_copy_only=False)
            if (lengths != prod(shape)).any():
                wrong = int(np.argmax(lengths != prod(shape)))
                raise InvalidDataset(f"Row {row + wrong:,} has {lengths[wrong]} values, the others {prod(shape)}")
        yield Block(values.to_numpy(zero_copy_only=False).reshape(-1, *shape), _labels(batch, label, row))
        row += batch.num_rows


def _batches(path: Path, names: list[str], label: str | None, size: int) -> Iterator[pa.RecordBatch]:
    columns = names if label is None else [*names, label]
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield from file.iter_batches(size, columns=columns, use_threads=False)
    except DAMAGED as error:
        _raise_if_of_the_disk(error)
        raise InvalidDataset(f"The parquet file is damaged: {error}") from error


def _schema(path: Path) -> tuple[pa.Schema, Any]:
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


def _check_footer(metadata: Any, limits: ReadLimits) -> None:
    """Sizes as the footer states them, before any page is read."""
    if metadata.num_columns > limits.columns:
        raise LimitExceeded(f"{metadata.num_columns:,} columns; at most {limits.columns:,} are read")
    check_rows(metadata.num_rows, limits)
    groups = [metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)]
    if sum(groups) > limits.decompressed_bytes:
        raise LimitExceeded(f"The file takes {sum(groups):,} bytes; at most {limits.decompressed_bytes:,} are read")
    if max(groups, default=0) > MAX_GROUP_BYTES:
        raise LimitExceeded(f"A row group takes {max(groups):,} bytes; write row groups of at most {MAX_GROUP_BYTES:,}")


def _label(schema: pa.Schema, label_column: str | None) -> str | None:
    if len(set(schema.names)) < len(schema.names):
        raise InvalidDataset("Two columns have the same name")
    if label_column is None:
        return LABELS if LABELS in schema.names and len(schema.names) > 1 else None
    if label_column not in schema.names:
        raise InvalidDataset(f"There is no column {label_column!r}; there are {', '.join(schema.names[:8])}")
    return label_column


def _labels(batch: pa.RecordBatch, label: str | None, row: int) -> NDArray[Any] | None:
    if label is None:
        return None
    column = batch.column(label)
    _refuse_null(column, label, row)
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


def _refuse_null(column: pa.Array, name: str, row: int) -> None:
    if column.null_count:
        raise InvalidDataset(
            f"Row {row + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False))):,} has no value in "
            f"{name!r}; fill or drop missing values"
        )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _is_list(kind: pa.DataType) -> bool:
    lists = pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return bool(lists and _is_number(kind.value_type))


def _stored_shape(schema: pa.Schema, name: str) -> tuple[int, ...] | None:
    """The shape that our own shards keep beside their flat lists."""
    try:
        shape = json.loads((schema.metadata or {}).get(b"latentmill", b"{}"))["shapes"][name]
    except (ValueError, KeyError, TypeError):
        return None
    if isinstance(shape, list) and shape and all(isinstance(size, int) and size > 0 for size in shape):
        return tuple(shape)
    return None


def _list_length(path: Path, name: str, kind: pa.DataType) -> int:
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    for batch in _batches(path, [name], None, 1):
        return len(batch.column(name).flatten())
    raise InvalidDataset("The file holds no rows")
