"""Rows as delivered, in numbers: what features and neighbours are computed from."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from workers.rows import Field, RowBatch

Floats = NDArray[np.float64]


def row_values(batch: RowBatch, fields: Sequence[Field], means: Mapping[str, float] | None = None) -> Floats:
    """The rows of `batch` as a matrix (n, P): of equal width for every batch of these fields.

    Images, series and tensors are flattened. A column of a table is its numbers, 0 or 1 for booleans, one 0/1 value
    per category. A column that may miss values has one 0/1 value more; a missing number stands at `means[name]`, which
    must be the same for all batches that are compared (see `column_means`); without `means`, at that of the batch.
    """
    means = column_means(batch, fields) if means is None else means
    return np.concatenate([_field_values(batch, field, means) for field in fields], axis=1)


def column_means(batch: RowBatch, fields: Sequence[Field]) -> dict[str, float]:
    """The mean of the values that are there, for each column of numbers that may miss some; 0 where all are missing."""
    means = {}
    for field in fields:
        if field.missing and field.categories is None:
            values, present = batch.values[field.name], ~missing_values(batch, field)
            means[field.name] = float(values[present].mean(dtype=np.float64)) if present.any() else 0.0
    return means


def missing_values(batch: RowBatch, field: Field) -> NDArray[np.bool_]:
    """Which values of a column are missing, (n,): those that are marked, and those that are no number."""
    values = batch.values[field.name]
    marked = batch.missing.get(field.name, np.zeros(len(values), dtype=bool))
    return marked | np.isnan(values) if field.missing and values.dtype.kind == "f" else marked


def _field_values(batch: RowBatch, field: Field, means: Mapping[str, float]) -> Floats:
    values = batch.values[field.name]
    if field.categories is not None:
        numbers = _one_hot(values, len(field.categories))
    else:
        numbers = values.reshape(len(values), -1).astype(np.float64)
    if not field.missing:
        return numbers
    missing = missing_values(batch, field)
    numbers[missing] = 0.0 if field.categories is not None else means[field.name]
    return np.concatenate([numbers, missing[:, None].astype(np.float64)], axis=1)


def _one_hot(numbers: NDArray[np.int32], categories: int) -> Floats:
    values = np.zeros((len(numbers), categories))
    values[np.arange(len(numbers)), numbers] = 1.0
    return values
