"""`table_rows`: the columns of a table model from a DataFrame, and its rows as the model is trained on them."""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentmill.columns import aligned
from latentmill.errors import InvalidDataset
from latentmill.specs import TableRows
from latentmill.specs.rows import Column
from latentmill.tables.frames import as_frame, column_values, frame_of
from latentmill.tables.proposing import proposed_column
from workers.columns import ColumnValues, as_column_has_them, decoded, encoded_table

if TYPE_CHECKING:
    import pandas as pd

MAX_CATEGORIES = 256
SHOWN_CATEGORIES = 6
SHOWN_PROBLEMS = 20


class ProposedTable:
    """`rows` for `export_vae(rows=...)`, and DataFrames encoded by them: what the VAE trains on, and decodes."""

    def __init__(self, spec: TableRows, columns: Mapping[str, ColumnValues]) -> None:
        self._spec, self._columns = spec, columns

    @property
    def rows(self) -> dict[str, Any]:
        """What the bundle says of its rows, as JSON."""
        return self._spec.model_dump(mode="json", exclude_none=True)

    @property
    def width(self) -> int:
        """W, the values of one row: one for a number or boolean, one for each category, one more for `missing`."""
        return self._spec.shape[0]

    @property
    def slices(self) -> dict[str, slice]:
        """Where the values of each column lie among the `width` of a row."""
        found, start = {}, 0
        for column in self._spec.columns:
            found[column.name] = slice(start, start + column.width)
            start += column.width
        return found

    @property
    def numeric(self) -> NDArray[np.bool_]:
        """(width,): True for the values of numbers and integers, False for those that are 0 or 1 in each row."""
        marks, slices = np.zeros(self.width, np.bool_), self.slices
        for column in self._spec.columns:
            if column.kind in ("number", "integer"):
                marks[slices[column.name].start] = True
        return marks

    @cached_property
    def encoded(self) -> NDArray[np.float32]:
        """(n, width) float32, the DataFrame that was proposed from, as the VAE is trained on it."""
        return encoded_table(self._spec, self._columns)

    def encode(self, table: Any) -> NDArray[np.float32]:
        """(n, width) float32 of another DataFrame with these columns, in any order.

        Raises InvalidDataset, with row and column, for another kind of value, a category that is not known, a value
        outside the bounds, a missing one where none is known, and for columns too few or too many.
        """
        frame = as_frame(table)
        names = [column.name for column in self._spec.columns]
        if absent := [name for name in names if name not in frame.columns]:
            raise InvalidDataset(f"The column {absent[0]!r} is not there; there are {', '.join(frame.columns[:8])}")
        if extra := [name for name in frame.columns if name not in names]:
            raise InvalidDataset(f"The column {extra[0]!r} is none of the table's: drop it")
        typed = {c.name: as_column_has_them(c, column_values(frame[c.name])) for c in self._spec.columns}
        return encoded_table(self._spec, typed)

    def decode(self, values: Any) -> "pd.DataFrame":
        """Rows (n, width) as a job delivers them: float64, int64, bool and string columns.

        Columns that may have missing values are Float64, Int64, boolean and string, where they are pandas' NA.
        """
        array = np.asarray(values, np.float32)
        if array.ndim != 2 or array.shape[1] != self.width:
            raise InvalidDataset(f"The values have the shape {array.shape}; they are rows (n, {self.width})")
        slices = self.slices
        columns = {c.name: decoded(c, array[:, slices[c.name]]) for c in self._spec.columns}
        return frame_of(columns, {column.name: column.kind for column in self._spec.columns})

    def __repr__(self) -> str:
        heading = ("column", "kind", "values", "missing", "width")
        lines = [heading, *(_line(column, self._columns[column.name]) for column in self._spec.columns)]
        count = len(next(iter(self._columns.values())).values)
        return "\n".join([f"table of {count:,} rows, {self.width:,} values each", *aligned(lines)])


def table_rows(
    table: Any,
    *,
    columns: Mapping[str, Mapping[str, Any]] | None = None,
    max_categories: int = MAX_CATEGORIES,
) -> ProposedTable:
    """The columns of a table model for these rows, and the rows as that model is trained on them.

    table: a DataFrame of pandas, or a Table of pyarrow: all rows that the model shall know, held-out ones too, since
    bounds and categories are those that occur. Columns of floats are numbers (whole ones too), of integers integers,
    of booleans booleans, of text and of pandas' category categories; each may have missing values. `columns` chooses
    otherwise by name: {"zip": {"kind": "category"}, "age": {"minimum": 0, "maximum": 120}, "size": {"categories":
    ["S", "M", "L"]}, "income": {"missing": True}}; a bound of None is none. Raises InvalidDataset that names every
    column that cannot be used, what was found, and the way out.
    """
    frame = as_frame(table)
    chosen = dict(columns or {})
    if unknown := [name for name in chosen if name not in frame.columns]:
        raise InvalidDataset(f"columns chooses for {unknown[0]!r}, but there is no such column", pointer="/columns")
    found: dict[str, Column] = {}
    values: dict[str, ColumnValues] = {}
    problems: list[str] = []
    for name in frame.columns:
        try:
            given = column_values(frame[name])
            found[name] = proposed_column(name, given, chosen.get(name, {}), max_categories=max_categories)
            values[name] = as_column_has_them(found[name], given)
        except InvalidDataset as error:
            problems.append(error.detail)
    if problems:
        raise InvalidDataset(_all_of(problems))
    return ProposedTable(TableRows(columns=tuple(found.values())), values)


def _all_of(problems: list[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    more = [f"and {len(problems) - SHOWN_PROBLEMS:,} more"] if len(problems) > SHOWN_PROBLEMS else []
    listed = "\n".join(f"- {problem}" for problem in [*problems[:SHOWN_PROBLEMS], *more])
    return f"{len(problems)} columns cannot be used as they are:\n{listed}"


def _line(column: Column, values: ColumnValues) -> tuple[str, ...]:
    kind: str = column.kind
    if kind == "number" and bool((values.values == np.rint(values.values))[values.present].all()):
        kind = "number, all whole"  # an integer to whoever wrote it, before pandas read missing ones among them?
    return (column.name, kind, _extent(column), "yes" if column.missing else "no", str(column.width))


def _extent(column: Column) -> str:
    """What values the column has: bounds or categories."""
    if column.categories is not None:
        shown = ", ".join(column.categories[:SHOWN_CATEGORIES])
        more = f", ... ({len(column.categories):,})" if len(column.categories) > SHOWN_CATEGORIES else ""
        return shown + more
    if column.kind == "boolean":
        return "false, true"
    low = "" if column.minimum is None else f"{column.minimum:.10g}"
    high = "" if column.maximum is None else f"{column.maximum:.10g}"
    return f"{low} to {high}" if low or high else "without bounds"
