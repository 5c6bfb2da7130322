"""Table rows as a small table: typed values as people write them, a dash for the missing."""

from collections.abc import Sequence
from math import ceil, log10
from typing import Any

import numpy as np

from latentmill.specs import TableRows, TensorRows
from workers.reporting.figures import NONE, number
from workers.reporting.grid import Cell, Grid, Heading, Line
from workers.rows import Field, RowBatch, codec

SHOWN_COLUMNS = 12
SHOWN_ROWS = 8
LONGEST = 24  # characters of a value
PLAIN_VALUES = 12  # a tensor with no more than these is shown as numbers


class TableDrawing:
    """Rows as lines of a table; digits are chosen once, so that all tables of a page read alike."""

    def __init__(self, spec: TableRows | TensorRows, batches: Sequence[RowBatch]) -> None:
        self.fields = _numbered(spec) if isinstance(spec, TensorRows) else codec(spec).fields
        self.shown = self.fields[:SHOWN_COLUMNS]
        split = [_columns(batch, spec) for batch in batches]
        self.spec = spec
        self.digits = {field.name: _digits([batch.values[field.name] for batch in split]) for field in self.shown}

    @property
    def left_out(self) -> int:
        """Columns that do not fit."""
        return len(self.fields) - len(self.shown)

    def grid(self, batch: RowBatch, names: Sequence[str] | None = None, corner: str = "") -> Grid:
        """At most eight rows (all of them where they have `names`), one line each."""
        rows = batch.rows if names is not None else min(batch.rows, SHOWN_ROWS)
        split = _columns(batch, self.spec)
        lines = [
            Line(
                names[row] if names is not None else str(row + 1), tuple(self._cell(split, f, row) for f in self.shown)
            )
            for row in range(rows)
        ]
        headings = tuple(Heading(field.name, words=_is_words(field)) for field in self.shown)
        return Grid(corner, headings, tuple(lines))

    def _cell(self, batch: RowBatch, field: Field, row: int) -> Cell:
        marks = batch.missing.get(field.name)
        if marks is not None and bool(marks[row]):
            return Cell(NONE, words=_is_words(field))
        value: Any = batch.values[field.name][row]
        if field.categories is not None:
            return Cell(_shortened(field.categories[int(value)]), words=True)
        if field.dtype == np.bool_:
            return Cell("yes" if value else "no", words=True)
        if np.issubdtype(field.dtype, np.integer):
            return Cell(str(int(value)))
        return Cell(number(float(value), self.digits[field.name]))


def _numbered(spec: TensorRows) -> tuple[Field, ...]:
    return tuple(Field(f"value {place}", np.dtype(np.float32)) for place in range(int(np.prod(spec.shape))))


def _columns(batch: RowBatch, spec: TableRows | TensorRows) -> RowBatch:
    """A batch of named columns; a tensor's values are columns by their place."""
    if isinstance(spec, TableRows):
        return batch
    flat = batch.values["rows"].reshape(batch.rows, -1)
    return RowBatch({f"value {place}": column for place, column in enumerate(flat.T)})


def _digits(values: Sequence[Any]) -> int:
    """Enough that rows of one column can be told apart: three or so of its deviation."""
    every = np.concatenate([np.asarray(one, dtype=np.float64).reshape(-1) for one in values])
    every = every[np.isfinite(every)]
    deviation = float(every.std()) if len(every) else 0.0
    return max(0, min(5, ceil(1.5 - log10(deviation)))) if deviation > 0 else 2


def _is_words(field: Field) -> bool:
    return field.categories is not None or field.dtype == np.bool_


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
