"""One column of rows as delivered, to be held against the same column of other rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.diagnostics.values import missing_values
from workers.rows import Field, RowBatch


@dataclass(frozen=True, eq=False)
class Column:
    """Values (n,), numbers or numbers of categories, and which of them are there (n,).

    categories: how many there are; 0 for numbers. A boolean has two.
    """

    name: str
    values: NDArray[Any]
    present: NDArray[np.bool_]
    categories: int

    @property
    def is_category(self) -> bool:
        return self.categories > 0

    @property
    def missing_share(self) -> float:
        return float((~self.present).mean())

    def distance(self, reference: "Column") -> float | None:
        """Total variation of categories, or 1-Wasserstein in the reference's standard deviations; of what is there.

        Total variation: half the sum of |p_k - q_k|. Wasserstein: the area between both distribution functions; in the
        column's own units where the reference does not vary. None where one of the two has no values at all.
        """
        mine, theirs = self.values[self.present], reference.values[reference.present]
        if len(mine) == 0 or len(theirs) == 0:
            return None
        if self.is_category:
            p, q = (np.bincount(v, minlength=self.categories) / len(v) for v in (mine, theirs))
            return float(0.5 * np.abs(p - q).sum())
        deviation = float(theirs.std())
        return _area_between(mine, theirs) / (deviation if deviation > 0 else 1.0)


def columns_of(batch: RowBatch, fields: Sequence[Field], names: Sequence[str] | None = None) -> list[Column]:
    """The columns of a table; of a series (steps, features) its features, each over all steps."""
    if len(fields) == 1 and len(fields[0].shape) == 2:
        return _features(batch.values[fields[0].name], names)
    return [_column(batch, field) for field in fields]


def _features(rows: NDArray[Any], names: Sequence[str] | None) -> list[Column]:
    flat = rows.reshape(-1, rows.shape[-1]).astype(np.float64)
    present = np.ones(len(flat), dtype=bool)
    labels = [str(number) for number in range(flat.shape[1])] if names is None else names
    return [Column(name, flat[:, number], present, 0) for number, name in enumerate(labels)]


def _column(batch: RowBatch, field: Field) -> Column:
    values, present = batch.values[field.name], ~missing_values(batch, field)
    if field.categories is not None:
        return Column(field.name, values.astype(np.int64), present, len(field.categories))
    if values.dtype == np.bool_:
        return Column(field.name, values.astype(np.int64), present, 2)
    return Column(field.name, values.astype(np.float64), present, 0)


def _area_between(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Integral of |F - G| over the line, F and G the distribution functions of two samples of any sizes."""
    points = np.sort(np.concatenate([one, other]))
    below = [np.searchsorted(np.sort(sample), points[:-1], side="right") / len(sample) for sample in (one, other)]
    return float(np.abs(below[0] - below[1]) @ np.diff(points))
