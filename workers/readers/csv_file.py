"""A csv file: its first line, and its columns in batches."""

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
from workers.readers.source import ReadLimits

MAX_LINE = 16 * 2**20
BLOCK_BYTES = MAX_LINE


def names_of(path: Path, limits: ReadLimits) -> tuple[list[str], bool]:
    fields = _fields(path, limits)
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
    return header_of(path, limits), True


def header_of(path: Path, limits: ReadLimits) -> list[str]:
    """The names of the columns, where the first line is known to hold them."""
    fields = _fields(path, limits)
    if len(set(fields)) < len(fields):
        raise InvalidDataset("Two columns have the same name")
    return fields


def _fields(path: Path, limits: ReadLimits) -> list[str]:
    fields = first_line(path)
    if len(fields) > limits.columns:
        raise LimitExceeded(f"{len(fields):,} columns; at most {limits.columns:,} are read")
    return fields


def first_line(path: Path) -> list[str]:
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


def batches(
    path: Path, names: list[str], types: dict[str, pa.DataType], *, skip: int, empty_is_missing: bool = False
) -> Iterator[pa.RecordBatch]:
    try:
        with pyarrow.csv.open_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False, block_size=BLOCK_BYTES, column_names=names, skip_rows=skip
            ),
            # A line without anything is a missing value where there is one column; else it is no row.
            parse_options=pyarrow.csv.ParseOptions(ignore_empty_lines=len(names) > 1 or not empty_is_missing),
            convert_options=pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=False),
        ) as opened:
            yield from opened
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
        return (
            f"{message}. Correct it, or name the column as label_column if it holds labels; a column of categories "
            "holds text alone, or is one of the table whose model is named (model)"
        )
    return f"The csv cannot be read: {message}"


def label_texts(column: pa.Array, first_row: int) -> NDArray[Any]:
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
