"""Rows as users get them: named, typed arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Field:
    """One named array of a shard: a column of a table, or the whole row of anything else.

    With `categories` the values are numbers of categories, and writers put the categories' names in their place.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()
    categories: tuple[str, ...] | None = None
    missing: bool = False  # some values may be missing: RowBatch.missing says which

    @property
    def row_bytes(self) -> int:
        """Bytes that one row takes as an array."""
        return self.dtype.itemsize * prod(self.shape)


@dataclass(frozen=True, slots=True)
class RowBatch:
    """n rows: by field the values (n, *shape), and for fields that may miss values a mask (n,) of the missing."""

    values: dict[str, NDArray[Any]]
    missing: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return len(next(iter(self.values.values())))

    def cut(self, start: int, stop: int) -> "RowBatch":
        """Rows start to stop of this batch."""
        return RowBatch(
            {name: values[start:stop] for name, values in self.values.items()},
            {name: marks[start:stop] for name, marks in self.missing.items()},
        )

    @staticmethod
    def joined(batches: Sequence["RowBatch"]) -> "RowBatch":
        """The rows of all batches, one after the other; at least one batch."""
        first = batches[0]
        return RowBatch(
            {name: np.concatenate([batch.values[name] for batch in batches]) for name in first.values},
            {name: np.concatenate([batch.missing[name] for batch in batches]) for name in first.missing},
        )
