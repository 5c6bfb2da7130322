"""parquet: columns of numbers, or one column of lists of equal length, and perhaps a column of labels."""

import json
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from latentmill.errors import InvalidDataset, LimitExceeded
from latentmill.specs import TableRows
from workers.readers.arrow_values import is_text
from workers.readers.parquet_file import batches, check_footer, labels_of, refuse_null, schema_of
from workers.readers.source import MAX_ROW_VALUES, Block, ReadLimits, Source, rows_per_block
from workers.readers.typed import label_among
from workers.readers.typed_parquet import open_typed

ROWS, LABELS = "rows", "labels"


def open_parquet(path: Path, limits: ReadLimits, *, label_column: str | None, table: TableRows | None = None) -> Source:
    """Rows: the column `rows` if it holds lists, or all columns but the labels. Labels: `label_column`, or `labels`.

    Columns are typed where they are those of a model's `table`, or where one of them holds text; else numbers.
    """
    schema, metadata = schema_of(path)
    check_footer(metadata, limits)
    if len(set(schema.names)) < len(schema.names):
        raise InvalidDataset("Two columns have the same name")
    label = label_among(schema.names, label_column, table, LABELS)
    others = [name for name in schema.names if name != label]
    lists = [name for name in others if _is_list(schema.field(name).type)]
    if lists:
        name = ROWS if ROWS in lists else lists[0]
        if name != ROWS and len(others) > 1:
            raise InvalidDataset(f"Lists are rows only in a column `rows`; there are {', '.join(others[:8])}")
        return _open_lists(path, schema, metadata.num_rows, name, label)
    if table is not None or any(is_text(schema.field(name).type) for name in others):
        return open_typed(path, schema, metadata.num_rows, label, table)
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
    for batch in batches(path, names, label, rows_per_block((len(names),), dtype.itemsize)):
        rows = np.empty((batch.num_rows, len(names)), dtype)
        for i, name in enumerate(names):
            column = batch.column(name)
            refuse_null(column, name, row)
            rows[:, i] = column.to_numpy(zero_copy_only=False)
        yield Block(rows, labels_of(batch, label, row))
        row += batch.num_rows


def _list_blocks(
    path: Path, name: str, label: str | None, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Iterator[Block]:
    row = 0
    for batch in batches(path, [name], label, rows_per_block(shape, dtype.itemsize)):
        column = batch.column(name)
        refuse_null(column, name, row)
        values = column.flatten()
        refuse_null(values, name, row)
        if not pa.types.is_fixed_size_list(column.type):
            lengths = column.value_lengths().to_numpy(zero_copy_only=False)
            if (lengths != prod(shape)).any():
                wrong = int(np.argmax(lengths != prod(shape)))
                raise InvalidDataset(f"Row {row + wrong:,} has {lengths[wrong]} values, the others {prod(shape)}")
        yield Block(values.to_numpy(zero_copy_only=False).reshape(-1, *shape), labels_of(batch, label, row))
        row += batch.num_rows


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
    for batch in batches(path, [name], None, 1):
        return len(batch.column(name).flatten())
    raise InvalidDataset("The file holds no rows")
