"""Does a candidate repeat rows it was fitted to: shares beside what chance gives."""

from collections.abc import Mapping
from typing import Any

from workers.reporting.comparison import candidates_of, chosen_of, name_of
from workers.reporting.figures import NONE, Figure, count, finite, lookup, percent
from workers.reporting.grid import Cell, Grid, Heading, Line, figure_cells

_SPACES = (("features", "rows"), ("latents", "latents"))


def memory_grid(content: Mapping[str, Any]) -> Grid | None:
    """One line per candidate that was checked; None where none was."""
    checked = [one for one in candidates_of(content) if isinstance(one.get("memorisation"), Mapping)]
    if not checked:
        return None
    headings: list[Heading] = []
    columns: list[list[Cell]] = []
    for key, noun in _SPACES:
        found = [lookup(one, "memorisation", key) for one in checked]
        if not any(isinstance(one, Mapping) for one in found):
            continue
        shares = [_figure(one, "share", finite(lookup(one, "standard_error"))) for one in found]
        headings += [Heading("Nearest is the fit's own", noun), Heading("By chance", noun), Heading("z", noun)]
        columns += [
            figure_cells(shares, share=True),
            figure_cells([_figure(one, "expected", None) for one in found], share=True),
            figure_cells([_figure(one, "z", None) for one in found], digits=1),
        ]
    headings.append(Heading("Exact duplicates", "of real rows"))
    columns.append([_duplicates(one, "duplicates") for one in checked])
    headings.append(Heading("The same", "among real rows"))
    columns.append([_duplicates(one, "duplicates_among_real") for one in checked])
    chosen = chosen_of(content)
    lines = [
        Line(name_of(one), tuple(cells), kind="chosen" if one is chosen else "")
        for one, *cells in zip(checked, *columns, strict=True)
    ]
    return Grid("Candidate", tuple(headings), tuple(lines))


def _figure(found: object, key: str, error: float | None) -> Figure | None:
    value = finite(lookup(found, key))
    return None if value is None else Figure(value, error)


def _duplicates(candidate: Mapping[str, Any], key: str) -> Cell:
    """How many rows equal a real row to the last byte, and the share of all that they are."""
    number, share = (finite(lookup(candidate, "memorisation", name)) for name in (key, f"{key}_share"))
    if number is None:
        return Cell(NONE)
    return Cell(count(number), f"({percent(share, 1)})" if number and share is not None else "")
