"""Typed columns side by side as one float64 array, as datasets of typed rows are kept."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from latentmill.specs.rows import ColumnKind
from workers.columns.fitting import OWN_TYPES
from workers.columns.values import ColumnValues


class StoredColumn(Protocol):
    """What is known of a column: a model's, or a dataset's."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> ColumnKind: ...
    @property
    def categories(self) -> tuple[str, ...] | None: ...


def as_floats(columns: Sequence[StoredColumn], values: Mapping[str, ColumnValues]) -> NDArray[np.float64]:
    """(n, columns) float64: numbers and integers as they are, booleans 0 and 1, categories by number; missing is NaN.

    Integers are within 2^53, where float64 has them all.
    """
    kept = np.empty((len(values[columns[0].name].values), len(columns)))
    for place, column in enumerate(columns):
        typed = values[column.name]
        kept[:, place] = typed.values
        if typed.missing is not None:
            kept[typed.missing, place] = np.nan
    return kept


def from_floats(column: StoredColumn, kept: NDArray[np.floating]) -> ColumnValues:
    """The values (n,) of one column of what `as_floats` made."""
    missing = np.isnan(kept)
    values: NDArray[Any] = np.where(missing, 0.0, kept).astype(OWN_TYPES[column.kind])
    return ColumnValues(values, missing if missing.any() else None, column.categories)
