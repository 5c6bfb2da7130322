"""Checks of the numbers that a step carries: each returns the value as torch wants it, or says what would be right."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Check = Callable[[Any], Any]
"""From the JSON value to the value for torch. Raises ValueError whose text completes "<name> must be ..."."""

REQUIRED: Any = object()
LARGEST = 2**24


@dataclass(frozen=True)
class Number:
    """One number of a layer: how it is checked, and what it is when the step leaves it out."""

    check: Check
    default: Any = REQUIRED


def integer(least: int = 1, most: int = LARGEST) -> Check:
    def check(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"a whole number from {least:,} to {most:,}")
        return value

    return check


def real(least: float = -1e30, most: float = 1e30) -> Check:
    def check(value: Any) -> float:
        if type(value) not in (int, float) or not math.isfinite(value) or not least <= value <= most:
            raise ValueError(f"a number from {least:g} to {most:g}")
        return float(value)

    return check


def flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("true or false")
    return value


def choice(*names: str) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return value

    return check


def integers(count: range, least: int = 1, most: int = LARGEST) -> Check:
    """A list whose length lies in `count`."""

    def check(value: Any) -> tuple[int, ...]:
        if (
            not isinstance(value, list | tuple)
            or len(value) not in count
            or not all(type(n) is int and least <= n <= most for n in value)
        ):
            raise ValueError(f"a list of {_lengths(count)} whole numbers from {least:,} to {most:,}")
        return tuple(value)

    return check


def several(check: Check, count: range) -> Check:
    """A list whose length lies in `count`, of values that `check` takes."""

    def checked(value: Any) -> tuple[Any, ...]:
        items = list(value) if isinstance(value, list | tuple) else [object()]  # which no check takes
        try:
            made = tuple(check(item) for item in items[: count[-1]])
        except ValueError as error:
            raise ValueError(f"a list of {_lengths(count)} values, each {error}") from None
        if len(items) not in count:
            raise ValueError(f"a list of {_lengths(count)} values")
        return made

    return checked


def _lengths(count: range) -> str:
    return str(count[0]) if len(count) == 1 else f"{count[0]:,} to {count[-1]:,}"


def per_axis(axes: int, least: int = 1, most: int = 1024) -> Check:
    """One whole number for all axes, or a list with one for each."""
    one, each = integer(least, most), integers(range(axes, axes + 1), least, most)

    def check(value: Any) -> tuple[int, ...]:
        try:
            return (int(one(value)),) * axes if type(value) is int else tuple(each(value))
        except ValueError:
            raise ValueError(f"a whole number from {least:,} to {most:,}, or a list of {axes}") from None

    return check


def either(*checks: Check) -> Check:
    """The first of `checks` that takes the value."""

    def check(value: Any) -> Any:
        reasons = []
        for attempt in checks:
            try:
                return attempt(value)
            except ValueError as error:
                reasons.append(str(error))
        raise ValueError(", or ".join(reasons))

    return check


def nothing(value: Any) -> None:
    if value is not None:
        raise ValueError("null")


def axis(value: Any) -> int:
    """An axis of the batch that is not axis 0, which counts rows: rows must stay apart."""
    if type(value) is not int or value == 0 or not -8 <= value <= 8:
        raise ValueError("an axis from 1 to 8 or -8 to -1; axis 0 counts the rows of a batch")
    return value
