"""csv with typed columns: text until a model's columns, or a look at the whole file, say what each holds."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from latentmill.errors import InvalidDataset
from latentmill.specs import TableRows
from latentmill.specs.rows import Column
from workers.columns import ColumnValues
from workers.readers.arrow_values import NUMBER, booleans_in_text, categories_in_text, numbers_in_text
from workers.readers.csv_file import batches, label_texts
from workers.readers.source import Block, ReadLimits, Source, check_rows
from workers.readers.typed import Survey, columns_in_file, surveyed, typed_rows, typed_source


def holds_text(path: Path, names: list[str], among: Sequence[str]) -> bool:
    """Whether one of these columns holds text, and no number, in the first block (16 MiB) of the file."""
    try:
        first = next(_text_batches(path, names), None)
    except InvalidDataset:
        return False  # what is wrong with it is told when it is read
    if first is None:
        return False
    return any(_holds_text(first.column(name)) for name in among)


def open_typed(path: Path, names: list[str], label: str | None, table: TableRows | None, limits: ReadLimits) -> Source:
    """Rows by the columns of `table`; without it by what the fields look like, for which the file is read twice.

    Then a column of fields that all are numbers is one of integers or numbers, one of true and false is one of
    booleans, and one without any number is one of categories.
    """
    if table is not None:
        columns = columns_in_file(table, names, label)
    else:
        columns = _surveyed(path, names, [name for name in names if name != label], limits)
    return typed_source(columns, _blocks(path, names, columns, label, limits), has_labels=label is not None)


def _surveyed(path: Path, names: list[str], among: Sequence[str], limits: ReadLimits) -> tuple[Column, ...]:
    surveys = [Survey(name) for name in among]
    row = 0
    for batch in _text_batches(path, names):
        for survey in surveys:
            survey.add(_guessed(batch.column(survey.name), survey.name, row))
        row += batch.num_rows
        check_rows(row, limits)
    return surveyed(surveys, words_are_booleans=True)


def _guessed(array: pa.Array, name: str, first_row: int) -> ColumnValues:
    """Numbers if a field is one, and then all must be; else text."""
    if _holds_text(array):
        return categories_in_text(array, name)
    return numbers_in_text(array, name, first_row)


def _holds_text(array: pa.Array) -> bool:
    """Whether there is a field that is not empty, and none that is a number."""
    filled = pc.not_equal(array, "")
    return bool(pc.any(filled).as_py()) and not pc.any(pc.match_substring_regex(array, NUMBER)).as_py()


def _blocks(
    path: Path, names: list[str], columns: Sequence[Column], label: str | None, limits: ReadLimits
) -> Iterator[Block]:
    row = 0
    for batch in _text_batches(path, names):
        given = {column.name: _read(column, batch.column(column.name), row) for column in columns}
        rows = typed_rows(columns, given, row)
        labels = None if label is None else label_texts(batch.column(label), row)
        row += batch.num_rows
        check_rows(row, limits)
        yield Block(rows, labels)


def _read(column: Column, array: pa.Array, first_row: int) -> ColumnValues:
    match column.kind:
        case "number" | "integer":
            return numbers_in_text(array, column.name, first_row)
        case "boolean":
            return booleans_in_text(array, column.name, first_row)
        case "category":
            return categories_in_text(array, column.name)


def _text_batches(path: Path, names: list[str]) -> Iterator[pa.RecordBatch]:
    return batches(path, names, {name: pa.string() for name in names}, skip=1, empty_is_missing=True)
