"""Parquet: a column for each column of a table, a fixed-size list for any other row, text for labels.

Row groups hold a number of rows that the schema alone decides, whatever the batches were. Lists are flat, because
pandas and the Hugging Face loader read flat ones as they are; the shape stands in the file's metadata under
`latentmill`: {"shapes": {"rows": [1, 28, 28]}}.
"""

import json
from collections.abc import Iterable, Iterator
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from latentmill.errors import InvalidRequest
from workers.rows import Field
from workers.shards.schema import ShardBatch, ShardSchema

GROUP_BYTES = 8 * 2**20
MAX_GROUP_ROWS = 2**17


def write_parquet(file: Any, schema: ShardSchema, rows: int, batches: Iterable[ShardBatch]) -> None:
    """Writes the file to `file`, which needs nothing but `write`, `flush` and `closed`."""
    arrow = _arrow_schema(schema)
    # Parquet stores a byte in four; by dictionary it takes one again (MNIST: half the size at the same speed).
    few = [_leaf(field) for field in _fields(schema) if field.categories is not None or field.dtype == np.uint8]
    scalar = [field.name for field in _fields(schema) if field.shape == () and field.categories is None]
    with pq.ParquetWriter(
        file,
        arrow,
        version="2.6",
        compression="zstd",
        compression_level=1,
        use_dictionary=few or False,
        write_statistics=scalar or False,
    ) as writer:
        for group in _groups(group_rows(schema), batches):
            writer.write_table(_table(schema, arrow, group), row_group_size=group_rows(schema))


def group_rows(schema: ShardSchema) -> int:
    """Rows of a row group: the largest power of two that takes at most 8 MiB as arrays."""
    fitting = max(1, GROUP_BYTES // max(1, schema.row_bytes))
    return min(MAX_GROUP_ROWS, 1 << (fitting.bit_length() - 1))


def _leaf(field: Field) -> str:
    return f"{field.name}.list.element" if field.shape else field.name


def _fields(schema: ShardSchema) -> tuple[Field, ...]:
    fields = (*schema.rows, *schema.beside)
    if len({field.name for field in fields}) < len(fields):
        raise InvalidRequest(
            "A column of this table is called latents or labels, as what stands beside the rows; ask for npz",
            pointer="/format",
        )
    return fields


def _arrow_schema(schema: ShardSchema) -> pa.Schema:
    fields = _fields(schema)
    shapes = {field.name: list(field.shape) for field in fields if field.shape}
    metadata = {"latentmill": json.dumps({"shapes": shapes}, sort_keys=True)} if shapes else None
    return pa.schema([pa.field(f.name, _arrow_type(f), nullable=f.missing) for f in fields], metadata=metadata)


def _arrow_type(field: Field) -> pa.DataType:
    if field.categories is not None:
        return pa.string()
    value = pa.from_numpy_dtype(field.dtype)
    return pa.list_(pa.field("element", value, nullable=False), prod(field.shape)) if field.shape else value


def _groups(size: int, batches: Iterable[ShardBatch]) -> Iterator[list[ShardBatch]]:
    """Batches cut and gathered into groups of exactly `size` rows; the last has the rest."""
    gathered: list[ShardBatch] = []
    missing = size
    for batch in batches:
        start = 0
        while start < batch.rows.rows:
            piece = batch.cut(start, start + missing)
            gathered.append(piece)
            start += piece.rows.rows
            missing -= piece.rows.rows
            if missing == 0:
                yield gathered
                gathered, missing = [], size
    if gathered:
        yield gathered


def _table(schema: ShardSchema, arrow: pa.Schema, group: list[ShardBatch]) -> pa.Table:
    columns = []
    for field in schema.rows:
        marks = np.concatenate([batch.rows.missing[field.name] for batch in group]) if field.missing else None
        columns.append(_array(field, np.concatenate([batch.rows.values[field.name] for batch in group]), marks))
    for field in schema.beside:
        columns.append(_array(field, np.concatenate([batch.beside[field.name] for batch in group]), None))
    return pa.Table.from_arrays(columns, schema=arrow)


def _array(field: Field, values: NDArray[Any], missing: NDArray[np.bool_] | None) -> pa.Array:
    if field.categories is not None:
        numbers = pa.array(values.astype(np.int32), mask=missing)
        return pa.array(field.categories, pa.string()).take(numbers)
    values = values.astype(field.dtype, copy=False)
    if not field.shape:
        return pa.array(values, mask=missing)
    flat = pa.array(values.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, type=_arrow_type(field))
