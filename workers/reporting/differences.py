"""Columns one by one, all candidates side by side: which column a strategy breaks shows in one line."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from workers.reporting.comparison import candidates_of, chosen_of, name_of
from workers.reporting.figures import NONE, Figure, figure, finite, lookup
from workers.reporting.grid import Grid, Heading, Line, figure_cells

SHOWN_COLUMNS = 30
MEASURES = {
    "total variation": "categories: total variation",
    "wasserstein / sd": "numbers: Wasserstein, in standard deviations",
    "cramers v": "Cramér's V",
}

Found = Mapping[str, Any]


def difference_grids(content: Mapping[str, Any]) -> list[tuple[str, Grid]]:
    """What differs column by column, in missing values and in pairs; against real rows where there are any."""
    for reference, words in (("real", "real held-out rows"), ("decoded", "decoded held-out rows")):
        measured = [(one, lookup(one, "quality", reference, "columns")) for one in candidates_of(content)]
        known = [(one, found) for one, found in measured if isinstance(found, Mapping) and _records(found)]
        if known:
            names = [name_of(one) for one, _ in known]
            tables = [found for _, found in known]
            chosen = next((found for one, found in known if one is chosen_of(content)), tables[0])
            grids = (
                (f"Each column, against {words}", _columns(names, tables)),
                ("Shares of missing values", _missing(names, tables)),
                ("Pairs of columns: difference of their association", _pairs(names, tables)),
                ("The pairs that differ most", _largest(chosen)),
            )
            return [(title, grid) for title, grid in grids if grid is not None]
    return []


def _records(found: Found) -> list[Found]:
    records = found.get("columns")
    return [one for one in records if isinstance(one, Mapping)] if isinstance(records, Sequence) else []


def _columns(names: Sequence[str], tables: Sequence[Found]) -> Grid:
    """Distances: one line for each column, the worst of the first candidate on top; the floor in the last place."""
    records = [_records(found) for found in tables]
    order = sorted(range(len(records[0])), key=lambda place: -(finite(records[0][place].get("distance")) or 0.0))
    order = order[:SHOWN_COLUMNS]
    sides = [[_distance(own[place]) for place in order] for own in records]
    floors = [figure(records[0][place].get("floor")) for place in order]
    headings = [Heading(name) for name in names]
    if any(floors):
        sides.append(floors)
        headings.append(Heading("Real rows", "the floor"))
    columns = [figure_cells(side, digits=3) for side in sides]
    lines = []
    for line, place in enumerate(order):
        measure = str(records[0][place].get("measure") or "")
        cells = tuple(column[line] for column in columns)
        lines.append(Line(_name(records[0][place]), cells, MEASURES.get(measure, measure)))
    return Grid(_corner(len(records[0])), tuple(headings), tuple(lines))


def _missing(names: Sequence[str], tables: Sequence[Found]) -> Grid | None:
    records = [_records(found) for found in tables]
    shown = [
        place
        for place in range(len(records[0]))
        if any(finite(own[place].get(key)) for own in records for key in ("missing", "missing_reference"))
    ][:SHOWN_COLUMNS]
    if not shown:
        return None
    sides = [[_share(own[place], "missing") for place in shown] for own in records]
    sides.append([_share(records[0][place], "missing_reference") for place in shown])
    columns = [figure_cells(side, share=True) for side in sides]
    lines = [
        Line(_name(records[0][place]), tuple(column[line] for column in columns)) for line, place in enumerate(shown)
    ]
    return Grid("Column", (*(Heading(name) for name in names), Heading("Reference")), tuple(lines))


def _pairs(names: Sequence[str], tables: Sequence[Found]) -> Grid | None:
    pairs = [lookup(found, "pairs") for found in tables]
    if not any(isinstance(found, Mapping) for found in pairs):
        return None
    floor = {key: lookup(pairs[0], f"floor_{key}") for key in ("mean_difference", "largest_difference")}
    heads = [Line(name, ()) for name in names]
    if any(value is not None for value in floor.values()):
        pairs, heads = [*pairs, floor], [*heads, Line("Real rows", (), "the floor", "floor")]
    columns = [
        figure_cells([figure(lookup(found, key)) for found in pairs], digits=3)
        for key in ("mean_difference", "largest_difference")
    ]
    lines = [replace(head, cells=tuple(cells)) for head, *cells in zip(heads, *columns, strict=True)]
    return Grid("Candidate", (Heading("Mean"), Heading("Largest")), tuple(lines))


def _largest(found: Found) -> Grid | None:
    """The pairs of the winner that differ most."""
    records = lookup(found, "pairs", "largest")
    kept = [one for one in records if isinstance(one, Mapping)] if isinstance(records, Sequence) else []
    if not kept:
        return None
    columns = [
        figure_cells([figure(one.get(key)) for one in kept], digits=2)
        for key in ("generated", "reference", "difference")
    ]
    measures = [MEASURES.get(str(one.get("measure")), str(one.get("measure") or "")) for one in kept]
    lines = [
        Line(_name(one), tuple(cells), measure) for one, measure, *cells in zip(kept, measures, *columns, strict=True)
    ]
    return Grid("Pair", (Heading("Generated"), Heading("Reference"), Heading("Difference")), tuple(lines))


def _distance(record: Found) -> Figure | None:
    return figure({"value": record.get("distance"), "standard_error": record.get("standard_error")})


def _share(record: Found, key: str) -> Figure | None:
    """The share, with the error of its difference from the reference's, which has none of its own here."""
    value = finite(record.get(key))
    error = finite(lookup(record, "missing_difference", "standard_error")) if key == "missing" else None
    return None if value is None else Figure(value, error)


def _corner(columns: int) -> str:
    return "Column" if columns <= SHOWN_COLUMNS else f"Column, the worst {SHOWN_COLUMNS} of {columns:,}"


def _name(record: Found) -> str:
    found = record.get("name", record.get("columns"))
    return " × ".join(str(one) for one in found) if isinstance(found, list | tuple) else str(found or NONE)
