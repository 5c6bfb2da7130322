"""Tables as the page shows them: cells of text, made from columns of figures whose points stand below each other."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from workers.reporting.figures import NONE, Figure, digits_for, error_text, number, percent

SMALL_SHARE = 0.005


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: a value and, smaller, its error; or words."""

    text: str
    error: str = ""
    words: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    """The head of a column; `note` stands below it in small print."""

    text: str
    note: str = ""
    words: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table: its name, in small print what the name leaves unsaid, a verdict, and marks against it.

    `kind` is "", "chosen", "floor" or "failed".
    """

    name: str
    cells: tuple[Cell, ...]
    note: str = ""
    kind: str = ""
    verdict: str = ""
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: the head of its first column, the other heads and the rows."""

    corner: str
    headings: tuple[Heading, ...]
    lines: tuple[Line, ...] = field(default=())

    @property
    def has_floors(self) -> bool:
        """Whether the last lines are what no candidate can beat."""
        return any(line.kind == "floor" for line in self.lines)


def figure_cells(figures: Sequence[Figure | None], *, share: bool = False, digits: int | None = None) -> list[Cell]:
    """One column of figures, all with the same digits (those that suit their errors if None); shares as per cent."""
    if share:
        return _share_cells(figures)
    digits = digits_for(figures) if digits is None else digits
    return [
        Cell(NONE) if found is None else Cell(number(found.value, digits), error_text(found, digits))
        for found in figures
    ]


def _share_cells(figures: Sequence[Figure | None]) -> list[Cell]:
    """Shares as per cent, with a digit after the point where all their errors are small."""
    errors = [found.error for found in figures if found is not None and found.error]
    digits = 1 if errors and max(errors) < SMALL_SHARE else 0
    return [
        Cell(NONE)
        if found is None
        else Cell(
            percent(found.value, digits), "" if found.error is None else f"± {number(100.0 * found.error, digits)}"
        )
        for found in figures
    ]
