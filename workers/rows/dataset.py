"""Rows of a dataset as they are kept, for a model that looks at some of them at a time."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import ModelMismatch
from latentmill.specs import DatasetColumn, Rows, TableRows
from latentmill.specs.datasets import is_typed, typed_columns, why_not_taken
from workers.columns import as_column_has_them, encoded_table
from workers.columns.storing import from_floats
from workers.rows.layout import laid_out


class DatasetRows(Protocol):
    """N rows, of which slices and lists of numbers are looked at; a memory map at best."""

    def __len__(self) -> int: ...
    def __getitem__(self, which: Any, /) -> NDArray[Any]: ...


class TypedRows:
    """N rows of typed columns, encoded by a model's own columns of the same names as they are looked at."""

    def __init__(self, kept: NDArray[np.floating], columns: Sequence[DatasetColumn], table: TableRows) -> None:
        if reason := why_not_taken(table, columns):
            raise ModelMismatch(reason)
        self._kept, self._table = kept, table
        self._columns = {column.name: (place, column) for place, column in enumerate(columns)}

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, which: slice | NDArray[np.integer]) -> NDArray[np.float32]:
        """Those rows, (n, width of the model's table).

        InvalidDataset, by row and column, for what the model's columns do not have. A slice comes first: its rows are
        numbered as the dataset's.
        """
        first_row = (which.start or 0) if isinstance(which, slice) else 0
        kept = np.asarray(self._kept[which])
        typed = {}
        for column in self._table.columns:
            place, own = self._columns[column.name]
            typed[column.name] = as_column_has_them(column, from_floats(own, kept[:, place]), first_row)
        return encoded_table(self._table, typed)


def dataset_rows(
    kept: NDArray[Any], spec: Rows, *, columns: Sequence[Any] | None, layout: Literal["HWC"] | None
) -> DatasetRows:
    """`kept` (N, ...) as the rows of a model: columns of a table by their names, images by their layout."""
    typed = typed_columns(columns)
    if isinstance(spec, TableRows) and typed is not None:
        return TypedRows(kept, typed, spec)
    if is_typed(columns):
        raise ModelMismatch(f"The dataset's rows are typed columns, the model's rows are of kind {spec.kind}")
    return laid_out(kept, layout, spec)
