"""csv: columns of numbers, and perhaps one of labels.

The first line is a header when it holds a field that is not a number; 0, 1, 2, ... (what pandas writes for nameless
columns) counts as a header from four columns on, and below that as unclear.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from latentmill.errors import InvalidDataset, LimitExceeded
from workers.readers.labels import fixed_width
from workers.readers.source import Block, ReadLimits, Source, check_rows

LABELS = "labels"
MAX_LINE = 16 * 2**20
BLOCK_BYTES = MAX_LINE


def open_csv(path: Path, limits: ReadLimits, *, label_column: str | None) -> Source:
    """Rows of numbers; the column `label_column`, or one called `labels`, holds the labels."""
    names, has_header = _names(path, limits)
    if label_column is not None and label_column not in names:
        raise InvalidDataset(f"There is no column {label_column!r}; there are {_some(names)}")
    label = label_column or (LABELS if LABELS in names and len(names) > 1 else None)
    numbers = tuple(name for name in names if name != label)
    if not numbers:
        raise InvalidDataset("There is no column of numbers beside the labels")
    blocks = _blocks(path, names, numbers, label, has_header=has_header, limits=limits)
    return Source((len(numbers),), np.dtype(np.float64), blocks, columns=numbers, has_labels=label is not None)


def csv_labels(path: Path, rows: int) -> Iterator[NDArray[Any]]:
    """The labels in a csv of one column; a first line too many for `rows` is its header."""
    first = _first_line(path)
    if len(first) != 1:
        raise InvalidDataset(f"The labels' file has {len(first)} columns; labels are one column")
    lines = sum(len(block) for block in _label_blocks(path, skip=0))
    return _label_blocks(path, skip=1 if lines == rows + 1 else 0)


def _label_blocks(path: Path, *, skip: int) -> Iterator[NDArray[Any]]:
    for batch in _batches(path, ["labels"], {"labels": pa.string()}, skip=skip):
        yield _texts(batch.column(0), 0)


def _blocks(
    path: Path, names: list[str], numbers: tuple[str, ...], label: str | None, *, has_header: bool, limits: ReadLimits
) -> Iterator[Block]:
    types = {name: pa.float64() for name in numbers}
    if label is not None:
        types[label] = pa.string()
    row = 0
    for batch in _batches(path, names, types, skip=int(has_header)):
        rows = np.empty((batch.num_rows, len(numbers)))
        for i, name in enumerate(numbers):
            rows[:, i] = batch.column(name).to_numpy(zero_copy_only=False)  # an empty field becomes NaN
        _refuse_empty(rows, numbers, row)
        labels = None if label is None else _texts(batch.column(label), row)
        row += batch.num_rows
        check_rows(row, limits)
        yield Block(rows, labels)


def _batches(path: Path, names: list[str], types: dict[str, pa.DataType], *, skip: int) -> Iterator[pa.RecordBatch]:
    try:
        with pyarrow.csv.open_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False, block_size=BLOCK_BYTES, column_names=names, skip_rows=skip
            ),
            convert_options=pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=False),
        ) as batches:
            yield from batches
    except pa.ArrowInvalid as error:
        raise InvalidDataset(_what_is_wrong(str(error), names, skip)) from error


def _what_is_wrong(message: str, names: list[str], skip: int) -> str:
    """Arrow's words, with the column's name in place of its number."""
    if message.startswith("Empty CSV file"):
        return "The file holds no rows"
    for i, name in enumerate(names):
        message = message.replace(f"CSV column #{i}:", f"column {name!r}:")
    message = message.replace("Row #", "line ")
    if "conversion error to double" in message:
        return f"{message}. A column of text can only be the label_column; leave the others out"
    return f"The csv cannot be read: {message}"


def _names(path: Path, limits: ReadLimits) -> tuple[list[str], bool]:
    fields = _first_line(path)
    if len(fields) > limits.columns:
        raise LimitExceeded(f"{len(fields):,} columns; at most {limits.columns:,} are read")
    places = [str(i) for i in range(len(fields))]
    numbers = [field for field in fields if _is_number(field)]
    if len(numbers) == len(fields):
        if fields != places or len(fields) == 1:
            return places, False
        if len(fields) < 4:
            raise InvalidDataset(f"Is the first line ({','.join(fields)}) a header or a row? Give the columns names")
    elif numbers and numbers not in (places[: len(numbers)], [str(i + 1) for i in range(len(numbers))]):
        raise InvalidDataset(
            f"The first line mixes numbers and text ({_some(fields)}): a header, or a row? Give the columns names"
        )
    if len(set(fields)) < len(fields):
        raise InvalidDataset("Two columns have the same name")
    return fields, True


def _first_line(path: Path) -> list[str]:
    with path.open("rb") as file:
        line = file.readline(MAX_LINE)
    if len(line) == MAX_LINE:
        raise InvalidDataset(f"The first line is longer than {MAX_LINE:,} bytes; is this a csv?")
    try:
        fields = next(csv.reader([line.decode("utf-8-sig")]), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidDataset(f"The file is not a csv in UTF-8: {error}") from error
    if not fields:
        raise InvalidDataset("The file is empty, or begins with an empty line")
    return [field.strip() for field in fields]


def _refuse_empty(rows: NDArray[np.float64], names: tuple[str, ...], first_row: int) -> None:
    missing = np.isnan(rows)
    if missing.any():
        row, column = np.argwhere(missing)[0]
        raise InvalidDataset(
            f"Row {first_row + row:,} has no number in column {names[column]!r}; fill or drop missing values"
        )


def _texts(column: pa.Array, first_row: int) -> NDArray[Any]:
    """Labels as an array of fixed-width text."""
    if column.null_count:
        row = first_row + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise InvalidDataset(f"Row {row:,} has no label")
    encoded = column.dictionary_encode()
    indices = encoded.indices.to_numpy()
    distinct = fixed_width(encoded.dictionary.to_pylist(), lambda i: first_row + int(np.argmax(indices == i)))
    texts: NDArray[Any] = distinct[indices]
    return texts


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
