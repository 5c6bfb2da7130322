"""Tables of typed columns: by the columns of a model, or by those that a first look at the whole file finds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import InvalidDataset, LimitExceeded
from latentmill.specs import TableRows
from latentmill.specs.rows import Column, ColumnKind
from workers.columns import ColumnValues, as_column_has_them
from workers.columns.storing import as_floats
from workers.columns.values import quoted
from workers.readers.source import Block, Source

MAX_CATEGORIES = 1_000  # of a column, without a model that says otherwise
MAX_TEXTS = 10_000  # categories of all columns together: they are told whenever the dataset is
LONGEST_TEXT = 256
LONGEST_NAME = 128
BOOLEANS = {"true": True, "false": False}
NUMERIC = frozenset({"number", "integer"})


def typed_source(
    columns: Sequence[Column], blocks: Iterator[Block], *, rows: int | None = None, has_labels: bool
) -> Source:
    """Rows of typed columns, as `as_floats` lays them out."""
    names = tuple(column.name for column in columns)
    return Source(
        (len(columns),), np.dtype(np.float64), blocks, rows, columns=names, has_labels=has_labels, table=tuple(columns)
    )


def typed_rows(columns: Sequence[Column], given: Mapping[str, ColumnValues], first_row: int) -> NDArray[np.float64]:
    """(n, columns): `given` as the columns have it; what they do not have is refused by row and column."""
    typed = {column.name: as_column_has_them(column, given[column.name], first_row) for column in columns}
    return as_floats(columns, typed)


def columns_in_file(table: TableRows, names: Sequence[str], label: str | None) -> tuple[Column, ...]:
    """The model's columns, once the file is seen to have all of them, and none besides but its labels."""
    wanted = {column.name for column in table.columns}
    there = ", ".join(name[:LONGEST_NAME] for name in names[:8]) + (", ..." if len(names) > 8 else "")
    if absent := [column.name for column in table.columns if column.name not in names]:
        raise InvalidDataset(f"The model's column {absent[0]!r} is not in the file; there are {there}")
    if extra := [name for name in names if name not in wanted and name != label]:
        raise InvalidDataset(
            f"The file's column {quoted(extra[0])} is none of the model's: leave it out, or name it as label_column"
        )
    return table.columns


def label_among(names: Sequence[str], label_column: str | None, table: TableRows | None, usual: str) -> str | None:
    """The column of labels: `label_column`, or the usual one where it stands beside others and is not the model's."""
    if label_column is not None:
        if label_column not in names:
            raise InvalidDataset(f"There is no column {label_column!r}; there are {', '.join(names[:8])}")
        return label_column
    own = {column.name for column in table.columns} if table is not None else set()
    return usual if usual in names and len(names) > 1 and usual not in own else None


class Survey:
    """What a column holds, seen block by block."""

    def __init__(self, name: str) -> None:
        if not 1 <= len(name) <= LONGEST_NAME:
            raise InvalidDataset(f"The column {quoted(name)} needs a name of 1 to {LONGEST_NAME} characters")
        self.name = name
        self.texts: dict[str, None] = {}
        self._kind: ColumnKind | None = None
        self._missing = False

    def add(self, values: ColumnValues) -> None:
        """The next values of the column."""
        present = values.present
        self._missing |= not present.all()
        if not present.any():
            return
        kind = values.kind
        if self._kind is not None and {kind, self._kind} == NUMERIC:
            kind = "number"
        elif self._kind is not None and kind != self._kind:
            raise InvalidDataset(f"The column {self.name!r} holds both {self._kind} and {kind}; it is one of them")
        self._kind = kind
        if values.texts is not None:
            for number in np.unique(values.values[present]).tolist():
                self._add_text(values.texts[number])

    def column(self, *, words_are_booleans: bool) -> Column:
        """The column as it was found; of a csv, whose fields are all text, true and false are booleans."""
        if self._kind is None:
            raise InvalidDataset(f"The column {self.name!r} has no values at all; leave it out")
        if self._kind != "category":
            return Column(name=self.name, kind=self._kind, missing=self._missing)
        if words_are_booleans and all(text.strip().lower() in BOOLEANS for text in self.texts):
            return Column(name=self.name, kind="boolean", missing=self._missing)
        return Column(name=self.name, kind="category", categories=tuple(sorted(self.texts)), missing=self._missing)

    def _add_text(self, text: str) -> None:
        if len(text) > LONGEST_TEXT:
            raise InvalidDataset(
                f"The column {self.name!r} has a value of {len(text):,} characters ({quoted(text)}), at most "
                f"{LONGEST_TEXT} are read: categories are short; leave the column out"
            )
        self.texts[text] = None
        if len(self.texts) > MAX_CATEGORIES:
            raise LimitExceeded(
                f"The column {self.name!r} has more than {MAX_CATEGORIES:,} different values. Where it names rows "
                "leave it out; else group the rare ones, or name the model (model) whose column has them"
            )


def surveyed(surveys: Sequence[Survey], *, words_are_booleans: bool) -> tuple[Column, ...]:
    """The columns that were found, if their categories are not too many together."""
    columns = tuple(survey.column(words_are_booleans=words_are_booleans) for survey in surveys)
    texts = sum(len(column.categories or ()) for column in columns)
    if texts > MAX_TEXTS:
        raise LimitExceeded(
            f"The columns have {texts:,} categories together, at most {MAX_TEXTS:,} are read; leave columns out, or "
            "name the model (model) whose columns have them"
        )
    return columns


def check_encoded(table: TableRows, source: Source) -> None:
    """Rows that come without columns are the model's own values, as many as its columns take together."""
    values: Any = int(np.prod(source.row_shape))
    if values != table.shape[0]:
        raise InvalidDataset(
            f"The rows have {values:,} values, the model's columns take {table.shape[0]:,}; upload typed columns as "
            "csv or parquet, or rows that are encoded already (table_rows(...).encoded)"
        )
