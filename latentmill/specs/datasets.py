"""What a dataset says of its columns, and whether a table model can take rows of them."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from latentmill.specs.rows import Column, ColumnKind, TableRows
from latentmill.specs.spec import Spec

SHOWN_NAMES = 8
# Which kinds of values a column may be given; by their values it is then seen whether integers are 0 and 1, say.
TAKES: dict[ColumnKind, tuple[ColumnKind, ...]] = {
    "number": ("number", "integer"),
    "integer": ("number", "integer"),
    "boolean": ("number", "integer", "boolean"),
    "category": ("integer", "category"),
}


class DatasetColumn(Spec):
    """One typed column of uploaded rows."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    kind: ColumnKind
    categories: tuple[str, ...] | None = None
    missing: bool = False

    @staticmethod
    def of(column: Column) -> "DatasetColumn":
        """A column that rows were read by, without what only a model knows of it."""
        return DatasetColumn(name=column.name, kind=column.kind, categories=column.categories, missing=column.missing)


def typed_columns(columns: Sequence[Any] | None) -> tuple[DatasetColumn, ...] | None:
    """The columns of a dataset as it tells them: of a table of typed rows, or names of numbers.

    None where rows have no named columns, as arrays and files without a header have none: for a table model their
    values are encoded already.
    """
    if columns is None or list(columns) == [str(place) for place in range(len(columns))]:
        return None
    return tuple(
        DatasetColumn.model_construct(name=column, kind="number") if isinstance(column, str)
        else column if isinstance(column, DatasetColumn)
        else DatasetColumn.model_validate(column)
        for column in columns
    )  # fmt: skip


def is_typed(columns: Sequence[Any] | None) -> bool:
    """Whether these are columns of a table of typed rows, and not names of numbers."""
    return bool(columns) and not isinstance((columns or [""])[0], str)


def why_not_taken(table: TableRows, columns: Sequence[DatasetColumn]) -> str | None:
    """Why a model's table cannot take rows of these columns, with the way out; None where it can. Order is free."""
    given = {column.name: column for column in columns}
    wanted = {column.name for column in table.columns}
    if absent := [column.name for column in table.columns if column.name not in given]:
        return f"the model's column {absent[0]!r} is not among the dataset's ({_some(given)}); upload rows that have it"
    if extra := [column.name for column in columns if column.name not in wanted]:
        return f"the dataset's column {extra[0]!r} is none of the model's ({_some(wanted)}); upload rows without it"
    for column in table.columns:
        kind = given[column.name].kind
        if kind not in TAKES[column.kind]:
            return (
                f"the dataset's column {column.name!r} was read as one of kind {kind}, the model's is of kind "
                f"{column.kind}; upload the rows with model, so that they are read as the model has them"
            )
    return None


def _some(names: Any) -> str:
    listed = list(names)
    return ", ".join(listed[:SHOWN_NAMES]) + (", ..." if len(listed) > SHOWN_NAMES else "")
