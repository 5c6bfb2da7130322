"""Numbers as text: as many digits as the error leaves, one true minus, a dash for what does not exist."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil, isfinite, log10
from typing import Any

NONE = "–"
MINUS = "−"
THIN = "\u202f"  # between a number and its unit
MAX_DIGITS = 3
MAX_SMALL_DIGITS = 5  # where all values lie below a tenth


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured number, with a standard error or an interval where it has one."""

    value: float
    error: float | None = None
    low: float | None = None
    high: float | None = None


def finite(value: object) -> float | None:
    """`value` as a float; None for what is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if isfinite(value) else None


def figure(measured: object) -> Figure | None:
    """From JSON: a number, {"value", "standard_error"} or {"value", "low", "high"}; None for anything else."""
    if not isinstance(measured, Mapping):
        value = finite(measured)
        return None if value is None else Figure(value)
    value = finite(measured.get("value"))
    if value is None:
        return None
    return Figure(value, *(finite(measured.get(key)) for key in ("standard_error", "low", "high")))


def lookup(content: object, *path: str) -> Any:
    """What `content` holds at the end of `path`; None as soon as a step is not there."""
    for key in path:
        content = content.get(key) if isinstance(content, Mapping) else None
    return content


def digits_for(figures: Iterable[Figure | None]) -> int:
    """Digits after the point that suit a column: one or two of the middle error, or three in all of what has none."""
    known = [found for found in figures if found is not None]
    largest = max((abs(found.value) for found in known), default=0.0)
    if largest == 0:
        return 2
    most = MAX_DIGITS if largest >= 0.1 else MAX_SMALL_DIGITS
    errors = sorted(error for error in (_spread(found) for found in known) if error > 0)
    if not errors:
        digits = 2 - (int(log10(largest)) if largest >= 1 else 0)
        return max(0, min(most, digits if largest >= 0.1 else most))
    error = errors[len(errors) // 2]
    digits = ceil(-log10(error))
    if error * 10.0**digits < 3:
        digits += 1  # 0.018 loses half its meaning as 0.02
    return max(0, min(most, digits))


def number(value: float | None, digits: int | None = None) -> str:
    """`value` with `digits` after the point (as many as suit it alone when None)."""
    if value is None or not isfinite(value):
        return NONE
    if digits is None:
        digits = digits_for([Figure(value)])
    if abs(value) >= 1e7:
        return f"{value:.2e}".replace("-", MINUS).replace("e+0", "e").replace("e+", "e")
    text = f"{value:,.{digits}f}"
    if text.startswith("-"):
        text = text[1:] if not text.strip("-0.,") else MINUS + text[1:]
    return text


def count(value: object) -> str:
    """A whole number with its thousands marked."""
    known = finite(value)
    return NONE if known is None else number(known, 0)


def percent(value: float | None, digits: int = 0) -> str:
    """A share as per cent."""
    return NONE if value is None else f"{number(100.0 * value, digits)}{THIN}%"


def signed(found: Figure | None, digits: int | None = None) -> str:
    """A difference, `+0.70 ± 0.02`."""
    text = with_error(found, digits)
    return text if found is None or text.startswith(MINUS) or not text.strip("0.± ") else f"+{text}"


def with_error(found: Figure | None, digits: int | None = None) -> str:
    """`0.70 ± 0.02`, `1.2 (0.9 to 1.6)` or the value alone."""
    if found is None:
        return NONE
    digits = digits_for([found]) if digits is None else digits
    error = error_text(found, digits)
    return f"{number(found.value, digits)} {error}".rstrip()


def error_text(found: Figure, digits: int) -> str:
    """`± 0.02`, `(0.9 to 1.6)`, or nothing."""
    if found.error is not None:
        return f"± {number(found.error, digits)}"
    if found.low is not None and found.high is not None:
        return f"({number(found.low, digits)} to {number(found.high, digits)})"
    return ""


def percent_with_error(found: Figure | None) -> str:
    """`97 % ± 2 %`."""
    if found is None:
        return NONE
    digits = 1 if found.error is not None and 0 < found.error < 0.005 else 0
    error = "" if found.error is None else f" ± {percent(found.error, digits)}"
    return percent(found.value, digits) + error


def _spread(found: Figure) -> float:
    if found.error is not None:
        return found.error
    if found.low is not None and found.high is not None:
        return (found.high - found.low) / 4.0  # about one standard error of a 95 % interval
    return 0.0
