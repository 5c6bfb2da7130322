"""Text in columns, and an estimate with as many digits as its error allows."""

from collections.abc import Mapping, Sequence
from math import floor, isfinite, log10
from typing import Any


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Each line's cells under those of the line before, however long they are."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ((cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return ["  ".join(cells).rstrip() for cells in padded]


def with_error(estimate: Mapping[str, Any] | None) -> str:
    """`1.234 ± 0.050`: the standard error to two digits, and the value to the same place."""
    if estimate is None or estimate.get("value") is None:
        return "-"
    value, error = float(estimate["value"]), float(estimate.get("standard_error") or 0.0)
    if not isfinite(value) or not isfinite(error) or error <= 0:
        return f"{value:.4g}"
    places = max(0, 1 - floor(log10(error)))
    return f"{value:.{places}f} ± {error:.{places}f}"
