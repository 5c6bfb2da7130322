"""parquet with typed columns: numbers, integers, booleans and text, null or NaN where a value is missing."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from latentmill.errors import InvalidDataset
from latentmill.specs import TableRows
from latentmill.specs.rows import Column
from workers.readers.arrow_values import is_text, typed_values
from workers.readers.parquet_file import batches, labels_of
from workers.readers.source import Block, Source, rows_per_block
from workers.readers.typed import Survey, columns_in_file, surveyed, typed_rows, typed_source

ITEM_BYTES = 8


def open_typed(path: Path, schema: pa.Schema, rows: int, label: str | None, table: TableRows | None) -> Source:
    """Rows by the columns of `table`; without it by their own types, for which the file is read twice."""
    names: list[str] = schema.names
    if table is not None:
        columns = columns_in_file(table, names, label)
    else:
        columns = _surveyed(path, schema, [name for name in names if name != label])
    blocks = _blocks(path, schema, columns, label)
    return typed_source(columns, blocks, rows=rows, has_labels=label is not None)


def _surveyed(path: Path, schema: pa.Schema, names: list[str]) -> tuple[Column, ...]:
    surveys = [Survey(name) for name in names]
    for batch in _batches(path, schema, names, None):
        for survey in surveys:
            survey.add(typed_values(batch.column(survey.name), survey.name))
    return surveyed(surveys, words_are_booleans=False)


def _blocks(path: Path, schema: pa.Schema, columns: Sequence[Column], label: str | None) -> Iterator[Block]:
    row = 0
    for batch in _batches(path, schema, [column.name for column in columns], label):
        given = {column.name: typed_values(batch.column(column.name), column.name) for column in columns}
        yield Block(typed_rows(columns, given, row), labels_of(batch, label, row))
        row += batch.num_rows


def _batches(path: Path, schema: pa.Schema, names: list[str], label: str | None) -> Iterator[pa.RecordBatch]:
    texts = [name for name in names if is_text(schema.field(name).type)]
    try:
        yield from batches(path, names, label, rows_per_block((len(names),), ITEM_BYTES), as_dictionaries=texts)
    except pa.ArrowNotImplementedError as error:
        raise InvalidDataset(f"The parquet file cannot be read: {error}") from error
