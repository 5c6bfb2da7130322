"""The distance of two columns, for samples of them whose rows are drawn again and again."""

import numpy as np
from numpy.typing import NDArray

from workers.diagnostics.column import Column

Floats = NDArray[np.float64]


class ColumnDistance:
    """`made.distance(own)` where each row counts as often as it is said, in the same units; what is sorted stays so."""

    def __init__(self, made: Column, own: Column) -> None:
        self._made, self._own = made, own
        if made.is_category:
            return
        values = np.concatenate([made.values, own.values])
        there = np.concatenate([made.present, own.present])
        numbers = np.flatnonzero(there)
        order = numbers[np.argsort(values[numbers], kind="stable")]
        self._gaps = np.diff(values[order])
        self._order, self._is_made = order, order < len(made.values)
        deviation = float(own.values[own.present].std()) if own.present.any() else 0.0
        self._unit = deviation if deviation > 0 else 1.0

    def __call__(self, made_counts: Floats, own_counts: Floats) -> float:
        """The distance where row i counts `made_counts[i]` times, `own_counts[i]` times; NaN where no value is left."""
        totals = [
            counts[column.present].sum() for column, counts in ((self._made, made_counts), (self._own, own_counts))
        ]
        if min(totals) <= 0:
            return float("nan")
        if self._made.is_category:
            p, q = (
                np.bincount(column.values[column.present], counts[column.present], column.categories) / total
                for column, counts, total in zip(
                    (self._made, self._own), (made_counts, own_counts), totals, strict=True
                )
            )
            return float(0.5 * np.abs(p - q).sum())
        counts = np.concatenate([made_counts, own_counts])[self._order]
        mine = np.where(self._is_made, counts / totals[0], -counts / totals[1])
        return float(np.abs(np.cumsum(mine)[:-1]) @ self._gaps) / self._unit
