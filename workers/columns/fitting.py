"""Values as a table model's column has them: its kind, its categories, within its bounds. Others are refused."""

from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import InvalidDataset
from latentmill.specs.rows import Column
from workers.columns.values import ColumnValues, quoted

EXACT = 2**53  # integers up to here are exact in float64, in which they are scaled
LARGEST = float(np.finfo(np.float32).max)
SHOWN_CATEGORIES = 8
OWN_TYPES = {"number": np.float64, "integer": np.int64, "boolean": np.bool_, "category": np.int32}
KINDS = {"number": "numbers", "integer": "integers", "category": "text", "boolean": "booleans"}


def as_column_has_them(column: Column, given: ColumnValues, first_row: int = 0) -> ColumnValues:
    """`given` as the column's own type: float64, int64, bool, or int32 numbers of its categories.

    Integers are numbers, too, whole floats are integers, 0 and 1 are booleans, integers are categories by their digits.
    Everything else of another kind, a category that the column does not know, a value outside its bounds, an infinite
    one, and a missing one where it has none: InvalidDataset, with the row (counted from `first_row`), the column and
    the value.
    """
    _refuse_missing(column, given, first_row)
    if not given.present.any():  # values that are not there have no kind
        given = ColumnValues(np.zeros(len(given.values), OWN_TYPES[column.kind]), given.missing, column.categories)
    match column.kind:
        case "number":
            typed = _numbers(column, given, first_row)
        case "integer":
            typed = _integers(column, given, first_row)
        case "boolean":
            typed = _booleans(column, given, first_row)
        case "category":
            typed = _categories(column, given, first_row)
    return ColumnValues(typed.values, given.missing if column.missing else None, column.categories)


def _numbers(column: Column, given: ColumnValues, first_row: int) -> ColumnValues:
    if given.kind not in ("number", "integer"):
        _refuse_kind(column, given)
    values = given.values.astype(np.float64)
    if given.kind == "integer":
        _refuse_inexact(column, given, given.present, first_row)
    return _within_bounds(column, ColumnValues(values, given.missing), given.present, first_row)


def _integers(column: Column, given: ColumnValues, first_row: int) -> ColumnValues:
    if given.kind not in ("number", "integer"):
        _refuse_kind(column, given)
    present = given.present
    if given.kind == "number":
        with np.errstate(invalid="ignore"):
            wrong = present & np.isfinite(given.values) & (given.values != np.rint(given.values))
        way_out = "round it, or leave out the row"
        _refuse(wrong, column, given, first_row, "is not whole, but the column holds integers", way_out)
        _refuse_infinite(column, given, present, first_row)
    _refuse_inexact(column, given, present, first_row)
    whole = np.where(present, given.values, given.values.dtype.type(0)).astype(np.int64)
    return _within_bounds(column, ColumnValues(whole, given.missing), present, first_row)


def _booleans(column: Column, given: ColumnValues, first_row: int) -> ColumnValues:
    if given.kind == "boolean":
        return given
    if given.kind == "category":
        _refuse_kind(column, given)
    wrong = given.present & (given.values != 0) & (given.values != 1)
    _refuse(wrong, column, given, first_row, "is neither 0 nor 1, but the column holds booleans", "correct it")
    return ColumnValues(given.values.astype(np.bool_), given.missing)


def _categories(column: Column, given: ColumnValues, first_row: int) -> ColumnValues:
    if given.kind in ("number", "boolean"):
        _refuse_kind(column, given)
    given = given if given.texts is not None else digits(given)
    places = {text: number for number, text in enumerate(column.categories or ())}
    number_of = np.array([places.get(text, -1) for text in given.texts or ()] or [-1], np.int32)
    numbers = number_of[np.where(given.present, given.values, 0)]
    known = ", ".join(quoted(text) for text in list(places)[:SHOWN_CATEGORIES])
    more = ", ..." if len(places) > SHOWN_CATEGORIES else ""
    wrong = given.present & (numbers < 0)
    way_out = (
        f"it knows {known}{more}: correct the value or leave out the row, or name it among the column's categories"
    )
    _refuse(wrong, column, given, first_row, "is no category of the column", way_out)
    return ColumnValues(np.maximum(numbers, 0), given.missing, column.categories)


def digits(given: ColumnValues) -> ColumnValues:
    """Integers as texts of their digits."""
    distinct, numbers = np.unique(given.values, return_inverse=True)
    return ColumnValues(numbers.astype(np.int32), given.missing, tuple(str(value) for value in distinct.tolist()))


def _within_bounds(column: Column, typed: ColumnValues, present: NDArray[np.bool_], first_row: int) -> ColumnValues:
    _refuse_infinite(column, typed, present, first_row)
    way_out = "correct it or leave out the row, or train a model whose column has wider bounds"
    if column.minimum is not None:
        wrong = present & (typed.values < column.minimum)
        _refuse(wrong, column, typed, first_row, f"lies below the column's minimum {column.minimum!r}", way_out)
    if column.maximum is not None:
        wrong = present & (typed.values > column.maximum)
        _refuse(wrong, column, typed, first_row, f"lies above the column's maximum {column.maximum!r}", way_out)
    if column.minimum is None or column.maximum is None:
        with np.errstate(over="ignore"):
            wrong = present & (np.abs((typed.values.astype(np.float64) - column.mean) / column.std) > LARGEST)
        _refuse(
            wrong, column, typed, first_row, f"is too many times the column's std {column.std!r} for float32", way_out
        )
    return typed


def _refuse_infinite(column: Column, typed: ColumnValues, present: NDArray[np.bool_], first_row: int) -> None:
    if typed.kind == "number":
        wrong = present & ~np.isfinite(typed.values)
        _refuse(wrong, column, typed, first_row, "is not a finite number", "correct it, or leave it out as missing")


def _refuse_inexact(column: Column, given: ColumnValues, present: NDArray[np.bool_], first_row: int) -> None:
    wrong = present & ((given.values > EXACT) | (given.values < -EXACT))
    way_out = "numbers that only name things are categories, or belong in no column"
    _refuse(wrong, column, given, first_row, "lies beyond 2^53, up to which integers are exact", way_out)


def _refuse_missing(column: Column, given: ColumnValues, first_row: int) -> None:
    if column.missing or given.missing is None or not given.missing.any():
        return
    raise InvalidDataset(
        f"Row {first_row + int(np.argmax(given.missing)):,} has no value in column {column.name!r}, which the model "
        "knows no missing values of: fill it or leave out the row, or train a model whose column has missing values"
    )


def _refuse_kind(column: Column, given: ColumnValues) -> NoReturn:
    raise InvalidDataset(
        f"Column {column.name!r} holds {KINDS[given.kind]}, but the model's column is of kind {column.kind}: convert "
        f"it to {KINDS[column.kind]}"
    )


def _refuse(
    wrong: NDArray[np.bool_], column: Column, given: ColumnValues, first_row: int, why: str, way_out: str
) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InvalidDataset(f"Row {first_row + row:,}, column {column.name!r}: {given.shown(row)} {why}; {way_out}")
