"""Rows as JSON has them: nested lists of numbers, and rows of a table as objects by column."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.rows import Field
from workers.shards.schema import ShardBatch, ShardSchema


def plain_rows(schema: ShardSchema, batch: ShardBatch) -> dict[str, Any]:
    """`rows`, and beside them `labels` (names of classes) and `latents`, null where the schema has none.

    A missing value is null, a category its name. A float32 becomes the double of the same value, so that reading it
    back gives the same bits.
    """
    beside = {field.name: _plain(field, batch.beside[field.name], None) for field in schema.beside}
    columns = [
        _plain(field, batch.rows.values[field.name], batch.rows.missing.get(field.name)) for field in schema.rows
    ]
    rows = table_rows([field.name for field in schema.rows], columns) if schema.is_table else columns[0]
    return {"rows": rows, "labels": beside.get("labels"), "latents": beside.get("latents")}


def table_rows(names: list[str], columns: list[list[Any]]) -> list[dict[str, Any]]:
    """Rows as objects, from the columns of a table."""
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def without_missing(values: list[Any], missing: NDArray[np.bool_] | None) -> list[Any]:
    """`values` with null in place of those that are missing."""
    if missing is None:
        return values
    return [None if gone else value for value, gone in zip(values, missing.tolist(), strict=True)]


def _plain(field: Field, values: NDArray[Any], missing: NDArray[np.bool_] | None) -> list[Any]:
    if field.categories is not None:
        return without_missing([field.categories[number] for number in values.tolist()], missing)
    return without_missing(values.astype(field.dtype, copy=False).tolist(), missing)
