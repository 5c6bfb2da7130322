"""What a column is in a table model, from the values that it has."""

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
from pydantic import ValidationError

from latentmill.errors import InvalidDataset
from latentmill.specs.rows import Column, ColumnKind
from workers.columns import ColumnValues
from workers.columns.fitting import digits

CHOICES = ("categories", "kind", "maximum", "minimum", "missing")
LARGEST_NUMBER = 1e100  # squares of what is scaled must be finite, and of what is not much smaller than it above 0


def proposed_column(name: str, given: ColumnValues, choices: Mapping[str, Any], *, max_categories: int) -> Column:
    """The column as a model has it; `choices` of the user come first.

    Kind: that of the values, where floats stay numbers if all are whole, too. Bounds: the smallest and the largest
    value. Categories: those of a pandas category column in their order, else the texts that occur, sorted. mean and
    std: over the values that are there. Raises InvalidDataset, with the column, for what a model cannot learn.
    """
    _check_choices(name, choices)
    missing = bool(choices.get("missing", given.missing is not None))
    if not given.present.any():
        raise InvalidDataset(f"Column {name!r} has no values at all: drop it")
    kind: ColumnKind = choices.get("kind", given.kind)
    described: dict[str, Any] = {"name": name, "kind": kind, "missing": missing}
    if kind == "category":
        described["categories"] = _categories(name, given, choices, max_categories)
    elif kind == "boolean":
        _check_varies(name, given, missing, said="kind" in choices)
    else:
        described |= _scale(name, given, choices, missing)
    try:
        return Column.model_validate(described)
    except ValidationError as error:
        raise InvalidDataset(f"Column {name!r}: {error.errors()[0]['msg']}") from error


def _check_choices(name: str, choices: Mapping[str, Any]) -> None:
    if unknown := sorted(set(choices) - set(CHOICES)):
        raise InvalidDataset(f"Column {name!r}: {unknown[0]!r} cannot be chosen; {', '.join(CHOICES)} can")
    if (kind := choices.get("kind")) is not None and kind not in get_args(ColumnKind):
        raise InvalidDataset(f"Column {name!r}: kind is one of {', '.join(get_args(ColumnKind))}, not {kind!r}")


def _categories(name: str, given: ColumnValues, choices: Mapping[str, Any], most: int) -> tuple[str, ...]:
    if given.kind in ("number", "boolean"):
        held = "numbers: round them to integers, or make text of them" if given.kind == "number" else "booleans"
        raise InvalidDataset(f"Column {name!r} cannot be of kind category: it holds {held}")
    texts = digits_of_present(given) if given.texts is None else given.texts
    if (chosen := choices.get("categories")) is not None:
        texts = tuple(map(str, chosen))
    if len(texts) > most:
        raise InvalidDataset(
            f"Column {name!r} has {len(texts):,} categories, at most {most:,} are encoded (max_categories). If it "
            "names rows, as an identifier does, drop it; else group the rare ones"
        )
    for text in texts:
        _check_text(name, text)
    if len(texts) + int(given.missing is not None) < 2:
        raise InvalidDataset(_constant(name, repr(texts[0])))
    return texts


def digits_of_present(given: ColumnValues) -> tuple[str, ...]:
    """The integers that occur, as texts, in their order."""
    return digits(ColumnValues(given.values[given.present])).texts or ()


def _check_text(name: str, text: str) -> None:
    if not text.strip():
        raise InvalidDataset(f"Column {name!r} has {text!r} for a category: make it missing (pandas.NA), or name it")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidDataset(f"Column {name!r} has the category {text!r}, which is no text in UTF-8") from error


def _check_varies(name: str, given: ColumnValues, missing: bool, *, said: bool) -> None:
    present = given.values[given.present]
    if not missing and not said and bool((present == present[0]).all()):
        raise InvalidDataset(_constant(name, repr(bool(present[0]))))


def _scale(name: str, given: ColumnValues, choices: Mapping[str, Any], missing: bool) -> dict[str, Any]:
    if given.kind not in ("number", "integer"):
        return {}  # which `as_column_has_them` refuses, as it does in an upload
    values = given.values[given.present].astype(np.float64)
    _check_finite(name, given, values)
    low, high = float(values.min()), float(values.max())
    if low == high and not missing:
        raise InvalidDataset(_constant(name, repr(given.values[given.present][0].item())))
    with np.errstate(over="ignore"):
        std = float(values.std()) if low < high else 1.0
    if not std > 1 / LARGEST_NUMBER or max(-low, high) > LARGEST_NUMBER:
        raise InvalidDataset(
            f"Column {name!r} lies in [{low!r}, {high!r}]: scale it, so that its values are below {LARGEST_NUMBER:g} "
            f"and their deviation is above {1 / LARGEST_NUMBER:g}"
        )
    bounds = {"minimum": choices.get("minimum", low), "maximum": choices.get("maximum", high)}
    return {"mean": float(values.mean()), "std": std, **bounds}


def _check_finite(name: str, given: ColumnValues, values: Any) -> None:
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(given.present)[np.argmax(~np.isfinite(values))])
        raise InvalidDataset(
            f"Row {row:,}, column {name!r}: {given.shown(row)} is not a finite number; correct it, or make it missing"
        )


def _constant(name: str, value: str) -> str:
    return f"Column {name!r} is {value} in every row: drop it, and add it to what is generated"
