"""Columns as a model computes in them, and back: the one place that knows how."""

from collections.abc import Mapping
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmill.specs import TableRows
from latentmill.specs.rows import Column
from workers.columns.values import ColumnValues

LARGEST_INTEGER = 2**63 - 1024  # the largest int64 that float64 has, too


def encoded_table(rows: TableRows, columns: Mapping[str, ColumnValues]) -> NDArray[np.float32]:
    """(n, width) of all columns, by their names, side by side in the order of `rows`."""
    count = len(columns[rows.columns[0].name].values)
    out = np.zeros((count, *rows.shape), np.float32)
    start = 0
    for column in rows.columns:
        out[:, start : start + column.width] = encoded(column, columns[column.name])
        start += column.width
    return out


def encoded(column: Column, typed: ColumnValues) -> NDArray[np.float32]:
    """(n, column.width): what `decoded` gives the column's own values (n,) for.

    number, integer: (value - mean) / std, in float64 and then rounded to float32. boolean: 1 or 0. category: 1 for its
    category, 0 for the others. A column with `missing` has one value more: 1 where the value is missing, whose other
    values are then 0 (for a number that is the column's mean), else 0.
    """
    out = np.zeros((len(typed.values), column.width), np.float32)
    if column.categories is not None:
        out[np.arange(len(out)), typed.values] = 1.0
    elif column.kind == "boolean":
        out[:, 0] = typed.values
    else:
        out[:, 0] = (typed.values.astype(np.float64) - column.mean) / column.std
    if typed.missing is not None:
        out[typed.missing] = 0.0
        out[typed.missing, -1] = 1.0
    return out


def decoded(column: Column, values: NDArray[np.float32]) -> ColumnValues:
    """The column's own values (n,) from those that a model gave (n, width).

    number, integer: value * std + mean, kept within minimum and maximum, integers rounded. boolean: value > 1/2.
    category: the largest of its values. A column with `missing` has one value more: the value is missing where that
    exceeds 1/2, for categories where it is the largest.
    """
    if column.categories is not None:
        choice = values.argmax(axis=1).astype(np.int32)
        absent = choice == len(column.categories)
        numbers = np.where(absent, np.int32(0), choice)
        return ColumnValues(numbers, absent if column.missing else None, column.categories)
    missing = values[:, 1] > 0.5 if column.missing else None
    if column.kind == "boolean":
        typed: NDArray[Any] = values[:, 0] > 0.5
    else:
        typed = _bounded(column, values[:, 0].astype(np.float64) * column.std + column.mean)
    if missing is not None:
        typed[missing] = np.nan if column.kind == "number" else 0
    return ColumnValues(typed, missing)


def _bounded(column: Column, values: NDArray[np.float64]) -> NDArray[Any]:
    low, high = column.minimum, column.maximum
    if column.kind == "number":
        return values if low is None and high is None else np.clip(values, low, high)
    low = -LARGEST_INTEGER if low is None else max(ceil(low), -LARGEST_INTEGER)
    high = LARGEST_INTEGER if high is None else min(floor(high), LARGEST_INTEGER)
    return np.clip(np.rint(values), low, high).astype(np.int64)
