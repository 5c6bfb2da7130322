"""Rows side by side, and the strip of one dimension, for every kind of row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from markupsafe import Markup

from latentmill.specs import ImageRows, SeriesRows, TableRows, TensorRows
from workers.reporting.exhibits import Exhibits, Gallery, Strip
from workers.reporting.figures import number
from workers.reporting.grid import Grid
from workers.reporting.lines import legend, line_drawing
from workers.reporting.pictures import heat_drawing, image_drawing
from workers.reporting.tables import PLAIN_VALUES, TableDrawing
from workers.rows import RowBatch

ORDER = {"real": 0, "reconstructions": 1, "candidate": 2}
SHOWN_ROWS, SHOWN_LINES = 16, 12  # wide drawings: two lines of them on a desk
MOST_STRIP_ROWS = 15


@dataclass(frozen=True, slots=True)
class Shown:
    """Some rows: drawings with captions, or a table."""

    drawings: tuple[tuple[Markup, str], ...] = ()
    grid: Grid | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One gallery as the page shows it; tables of candidates that were not chosen are folded away."""

    name: str
    note: str
    kind: str
    chosen: bool
    rows: Shown
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Walk:
    """A strip: for each value of the dimension its row, and whether the data reach so far."""

    dimension: int
    region: str
    held_at: str
    steps: tuple[tuple[str, bool, Markup | None], ...]
    grid: Grid | None


@dataclass(frozen=True, slots=True)
class Wall:
    """All rows of a page."""

    parts: tuple[Part, ...]
    walks: tuple[Walk, ...]
    note: str
    legend: tuple[tuple[str, Markup], ...] = ()


def wall(exhibits: Exhibits, chosen: str | None) -> Wall:
    """Everything that shows rows; `chosen` is the name of the winner."""
    galleries = sorted(exhibits.galleries, key=lambda one: ORDER.get(one.kind, 3))
    galleries = [one for one in galleries if one.rows.rows > 0]
    strips = [one for one in exhibits.strips if one.rows.rows > 0]
    batches = [one.rows.cut(0, SHOWN_ROWS) for one in galleries] + [one.rows for one in strips]
    if not batches:
        return Wall((), (), "")
    spec = exhibits.rows
    if isinstance(spec, TableRows) or (isinstance(spec, TensorRows) and prod(spec.shape) <= PLAIN_VALUES):
        return _wall_of_tables(spec, galleries, strips, batches, chosen)
    draw, note = _drawing(spec, batches)
    most = SHOWN_ROWS if isinstance(spec, ImageRows) else SHOWN_LINES
    parts = tuple(_part(one, Shown(_captioned(one, draw, most)), chosen) for one in galleries)
    walks = tuple(_walk(one, draw(one.rows.cut(0, MOST_STRIP_ROWS)), None) for one in strips)
    return Wall(parts, walks, note, tuple(legend(spec)) if isinstance(spec, SeriesRows) else ())


def _wall_of_tables(
    spec: TableRows | TensorRows,
    galleries: Sequence[Gallery],
    strips: Sequence[Strip],
    batches: Sequence[RowBatch],
    chosen: str | None,
) -> Wall:
    drawing = TableDrawing(spec, batches)
    parts = tuple(_part(one, Shown(grid=drawing.grid(one.rows, one.labels, "Row")), chosen) for one in galleries)
    walks = tuple(_walk(one, [], drawing.grid(one.rows, _values_text(one), f"z{one.dimension}")) for one in strips)
    note = f"The first {len(drawing.shown)} of {len(drawing.fields)} columns." if drawing.left_out else ""
    return Wall(parts, walks, note)


def _drawing(
    spec: ImageRows | SeriesRows | TensorRows, batches: list[RowBatch]
) -> tuple[Callable[[RowBatch], list[Markup]], str]:
    match spec:
        case ImageRows():
            return image_drawing(spec, sum(batch.rows for batch in batches)), ""
        case SeriesRows():
            left_out = len(spec.features) - len(legend(spec))
            more = f" The first {len(legend(spec))} of {len(spec.features)} features." if left_out > 0 else ""
            return line_drawing(spec, batches), f"Each feature on one scale in all pictures.{more}"
        case TensorRows():
            draw, (low, high) = heat_drawing(spec, batches)
            return draw, f"Colours from {number(low)} (dark blue) to {number(high)} (yellow), the same in all pictures."


def _captioned(gallery: Gallery, draw: Callable[[RowBatch], list[Markup]], most: int) -> tuple[tuple[Markup, str], ...]:
    drawings = draw(gallery.rows.cut(0, most))
    labels = gallery.labels or ("",) * len(drawings)
    return tuple(zip(drawings, labels, strict=False))


def _part(gallery: Gallery, rows: Shown, chosen: str | None) -> Part:
    is_chosen = gallery.kind == "candidate" and gallery.name == chosen
    folded = rows.grid is not None and gallery.kind == "candidate" and not is_chosen and gallery.name != "prior"
    name = gallery.name if gallery.kind == "candidate" else gallery.name[:1].upper() + gallery.name[1:]
    return Part(name, gallery.note, gallery.kind, is_chosen, rows, folded)


def _walk(strip: Strip, drawings: Sequence[Markup], grid: Grid | None) -> Walk:
    low, high = strip.region
    texts = [number(float(value), 1) for value in strip.values]
    inside = [low <= float(value) <= high for value in strip.values]
    steps = tuple(zip(texts, inside, drawings, strict=False)) if drawings else ()
    region = f"{number(low, 2)} to {number(high, 2)}"
    return Walk(strip.dimension, region, strip.held_at, steps, grid)


def _values_text(strip: Strip) -> list[str]:
    """The values as names of lines; those outside the data's region say so."""
    low, high = strip.region
    return [
        f"{number(float(value), 1)}" + ("" if low <= float(value) <= high else " (outside)") for value in strip.values
    ]
