"""csv: columns of numbers, and perhaps one of labels.

The first line is a header when it holds a field that is not a number; 0, 1, 2, ... (what pandas writes for nameless
columns) counts as a header from four columns on, and below that as unclear.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from latentmill.errors import InvalidDataset
from latentmill.specs import TableRows
from workers.readers.csv_file import batches, first_line, header_of, label_texts, names_of
from workers.readers.source import Block, ReadLimits, Source, check_rows
from workers.readers.typed import label_among
from workers.readers.typed_csv import holds_text, open_typed

LABELS = "labels"


def open_csv(path: Path, limits: ReadLimits, *, label_column: str | None, table: TableRows | None = None) -> Source:
    """Rows; the column `label_column`, or one called `labels`, holds the labels.

    Columns are typed where they are those of a model's `table`, or where one of them holds text alone; else numbers.
    """
    names, has_header = names_of(path, limits) if table is None else (header_of(path, limits), True)
    label = label_among(names, label_column, table, LABELS)
    numbers = tuple(name for name in names if name != label)
    if not numbers:
        raise InvalidDataset("There is no column of numbers beside the labels")
    if table is not None or (has_header and holds_text(path, names, numbers)):
        return open_typed(path, names, label, table, limits)
    blocks = _blocks(path, names, numbers, label, has_header=has_header, limits=limits)
    return Source((len(numbers),), np.dtype(np.float64), blocks, columns=numbers, has_labels=label is not None)


def csv_labels(path: Path, rows: int) -> Iterator[NDArray[Any]]:
    """The labels in a csv of one column; a first line too many for `rows` is its header."""
    first = first_line(path)
    if len(first) != 1:
        raise InvalidDataset(f"The labels' file has {len(first)} columns; labels are one column")
    lines = sum(len(block) for block in _label_blocks(path, skip=0))
    return _label_blocks(path, skip=1 if lines == rows + 1 else 0)


def _label_blocks(path: Path, *, skip: int) -> Iterator[NDArray[Any]]:
    for batch in batches(path, ["labels"], {"labels": pa.string()}, skip=skip):
        yield label_texts(batch.column(0), 0)


def _blocks(
    path: Path, names: list[str], numbers: tuple[str, ...], label: str | None, *, has_header: bool, limits: ReadLimits
) -> Iterator[Block]:
    types = {name: pa.float64() for name in numbers}
    if label is not None:
        types[label] = pa.string()
    row = 0
    for batch in batches(path, names, types, skip=int(has_header)):
        rows = np.empty((batch.num_rows, len(numbers)))
        for i, name in enumerate(numbers):
            rows[:, i] = batch.column(name).to_numpy(zero_copy_only=False)  # an empty field becomes NaN
        _refuse_empty(rows, numbers, row)
        labels = None if label is None else label_texts(batch.column(label), row)
        row += batch.num_rows
        check_rows(row, limits)
        yield Block(rows, labels)


def _refuse_empty(rows: NDArray[np.float64], names: tuple[str, ...], first_row: int) -> None:
    missing = np.isnan(rows)
    if missing.any():
        row, column = np.argwhere(missing)[0]
        raise InvalidDataset(
            f"Row {first_row + row:,} has no number in column {names[column]!r}; fill or drop missing values, or name "
            "the model (model) of a table whose column may miss them"
        )
