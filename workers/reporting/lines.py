"""Series as small lines, all rows of a page on the same scales."""

from collections.abc import Callable, Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from latentmill.specs import SeriesRows
from workers.rows import RowBatch

WIDTH, HEIGHT = 168, 76
MARGIN = 3
DRAWN_STEPS = 150
DRAWN_FEATURES = 4
LOOKS = (  # Okabe and Ito's colours; the dashes tell them apart in print
    ("#0072b2", ""),
    ("#d55e00", "5 2"),
    ("#009e73", "2 2"),
    ("#8a4f7d", "7 2 2 2"),
)

Drawing = Callable[[RowBatch], list[Markup]]


def line_drawing(spec: SeriesRows, batches: Sequence[RowBatch]) -> Drawing:
    """Draws rows (steps, features): the first four features, each on its own scale over all `batches`."""
    drawn = min(DRAWN_FEATURES, len(spec.features))
    every = np.concatenate([_values(batch, spec)[:, :, :drawn] for batch in batches]).astype(np.float64)
    flat = np.where(np.isfinite(every), every, np.nan).reshape(-1, drawn)
    known = [column[np.isfinite(column)] for column in flat.T]
    scales = [(float(column.min()), float(column.max())) if len(column) else (0.0, 1.0) for column in known]

    def draw(batch: RowBatch) -> list[Markup]:
        return [_row(row[:, :drawn], scales) for row in _values(batch, spec).astype(np.float64)]

    return draw


def legend(spec: SeriesRows) -> list[tuple[str, Markup]]:
    """The drawn features with a sample of their lines."""
    return [
        (name, Markup('<svg viewBox="0 0 28 8" width="28" height="8">{}</svg>').format(_line("1,4 27,4", look)))
        for name, look in zip(spec.features, LOOKS, strict=False)
    ]


def _values(batch: RowBatch, spec: SeriesRows) -> NDArray[np.generic]:
    return next(iter(batch.values.values())).reshape(batch.rows, *spec.shape)


def _row(row: NDArray[np.float64], scales: Sequence[tuple[float, float]]) -> Markup:
    kept = np.unique(np.linspace(0, len(row) - 1, min(len(row), DRAWN_STEPS)).round().astype(int))
    across = MARGIN + (WIDTH - 2 * MARGIN) * kept / max(1, len(row) - 1)
    lines = []
    for feature, (low, high) in enumerate(scales):
        share = (row[kept, feature] - low) / ((high - low) or 1.0)
        up = HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * share
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, up, strict=True) if np.isfinite(y))
        lines.append(_line(points, LOOKS[feature]))
    return Markup('<svg class="lines" viewBox="0 0 {} {}" width="{}" height="{}">{}</svg>').format(
        WIDTH, HEIGHT, WIDTH, HEIGHT, Markup("").join(reversed(lines))
    )


def _line(points: str, look: tuple[str, str]) -> Markup:
    colour, dash = look
    return Markup(
        '<polyline points="{}" fill="none" stroke="{}" stroke-width="1.6" stroke-dasharray="{}" '
        'stroke-linejoin="round"></polyline>'
    ).format(points, colour, dash or "none")
