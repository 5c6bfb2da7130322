"""Tables: decoded values side by side become typed columns."""

from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmill.specs import TableRows
from latentmill.specs.rows import Column
from workers.rows.fields import Field, RowBatch
from workers.rows.row_codec import RowCodec, fitted

DTYPES = {"number": np.float64, "integer": np.int64, "category": np.int32, "boolean": np.bool_}

LARGEST_INTEGER = 2**63 - 1024  # the largest int64 that float64 has, too


class TableCodec(RowCodec):
    """Columns of decoded values, `width` wide each.

    number, integer: value * std + mean, kept within minimum and maximum, integers rounded. boolean: value > 1/2.
    category: the largest of its values. A column with `missing` has one value more: the value is missing where that
    exceeds 1/2, for categories where it is the largest.
    """

    def __init__(self, spec: TableRows) -> None:
        self.spec = spec
        self.shape = spec.shape
        self.fields = tuple(
            Field(c.name, np.dtype(DTYPES[c.kind]), categories=c.categories, missing=c.missing) for c in spec.columns
        )

    def to_model(self, rows: NDArray[Any], first_row: int = 0) -> NDArray[np.float32]:
        """Rows that are encoded already: as many values as the model's columns take together."""
        return fitted(rows, self.shape).astype(np.float32)

    def columns(self, compacted: NDArray[Any]) -> RowBatch:
        batch = RowBatch({})
        start = 0
        for column in self.spec.columns:
            values = compacted[:, start : start + column.width]
            start += column.width
            batch.values[column.name], missing = _column(column, values)
            if missing is not None:
                batch.missing[column.name] = missing
        return batch


def _column(column: Column, values: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """The typed values (n,) of one column from its decoded values (n, width), and which are missing."""
    if column.categories is not None:
        choice = values.argmax(axis=1).astype(np.int32)
        missing = choice == len(column.categories)
        return np.where(missing, np.int32(0), choice), missing if column.missing else None
    missing = values[:, 1] > 0.5 if column.missing else None
    if column.kind == "boolean":
        typed: NDArray[Any] = values[:, 0] > 0.5
    else:
        typed = _bounded(column, values[:, 0].astype(np.float64) * column.std + column.mean)
    if missing is not None:
        typed[missing] = np.nan if column.kind == "number" else 0
    return typed, missing


def _bounded(column: Column, values: NDArray[np.float64]) -> NDArray[Any]:
    low, high = column.minimum, column.maximum
    if column.kind == "number":
        return values if low is None and high is None else np.clip(values, low, high)
    low = -LARGEST_INTEGER if low is None else max(ceil(low), -LARGEST_INTEGER)
    high = LARGEST_INTEGER if high is None else min(floor(high), LARGEST_INTEGER)
    return np.clip(np.rint(values), low, high).astype(np.int64)
