"""The chart that decides: held-out gain against the distance of the rows, floors drawn, labels that do not collide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from workers.reporting.axis import Axis
from workers.reporting.charts import (
    DATA_COLOUR,
    INK,
    MUTED,
    PRIOR_COLOUR,
    Spec,
    layer,
    shortened,
    svg,
)
from workers.reporting.comparison import baseline_text, candidates_of, chosen_of, gain_of, name_of, prior_of
from workers.reporting.figures import Figure, figure, lookup, number
from workers.reporting.labels import LETTER, LINE, Label, label_layers, placed

LEVELS = {"reconstructions": "floor: reconstructions", "real": "real rows"}
LONGEST = 28  # letters of a label
_INKS = {"prior": "#a84300", "chosen": "#005a8d", "other": INK, "marked": MUTED}
_LOOKS: dict[str, Spec] = {
    "prior": {"shape": "diamond", "color": PRIOR_COLOUR, "fill": "white", "strokeWidth": 2.5, "size": 150},
    "chosen": {"shape": "circle", "color": DATA_COLOUR, "filled": True, "size": 190},
    "other": {"shape": "circle", "color": INK, "fill": "white", "strokeWidth": 2, "size": 90},
    "marked": {"shape": "cross", "color": MUTED, "filled": True, "size": 80},
}
FEWEST_NATS = 0.1  # across: what is smaller than a tie must look small
ROOMY = 400  # pixels from which titles are given in full
WIDE_RATIO = 25.0  # above this ratio of the largest distance to the usual error the axis turns logarithmic


Channels = Mapping[str, Spec]


@dataclass(frozen=True, slots=True)
class Point:
    """A candidate on the chart."""

    name: str
    gain: Figure
    distance: Figure
    kind: str  # prior, chosen, other, marked


def points_of(content: Mapping[str, Any]) -> tuple[list[Point], list[str]]:
    """The candidates that have both numbers, and the names of those that have not."""
    chosen, prior, points, left_out = chosen_of(content), prior_of(content), [], []
    for one in candidates_of(content):
        gain, distance = gain_of(one), figure(lookup(one, "quality", "decoded", "kernel_distance"))
        if gain is None or distance is None:
            left_out.append(name_of(one))
            continue
        kind = "chosen" if one is chosen else "prior" if one is prior else "marked" if one.get("marks") else "other"
        points.append(Point(name_of(one), gain, distance, kind))
    return points, left_out


def scatter(content: Mapping[str, Any], *, width: int, height: int) -> Markup | None:
    """The chart at a size in pixels; None with fewer than two candidates to show."""
    points, _ = points_of(content)
    if len(points) < 2:
        return None
    floors = [
        (words, found)
        for key, words in LEVELS.items()
        if (found := figure(lookup(content, "floors", key, "decoded", "kernel_distance"))) is not None
    ]
    across = _gain_axis(points, width)
    up = _distance_axis([point.distance for point in points] + [level for _, level in floors], height)
    over = f" over {baseline_text(content)}" if width >= ROOMY else ""
    across_channel = across.channel("x", f"held-out gain{over}, nats per row")
    log = " (log above the error)" if up.bend else ""
    channels = {"x": across_channel, "y": up.channel("y", f"kernel distance to decoded rows{log}")}
    layers = [
        *_floor_layers(floors, across, channels),
        _errors(points, across, up, channels),
        *label_layers(_labels(points, floors, across, up), across, up, channels),
        *(_mark(point, across, channels) for point in points),
    ]
    return svg(layers, width=width, height=height)


def _gain_axis(points: Sequence[Point], width: int) -> Axis:
    """Spans the candidates without marks, the prior and the winner; others may lie beyond the left edge."""
    shown = [point for point in points if point.kind != "marked"] or points
    lows = [point.gain.value - (point.gain.error or 0.0) for point in shown]
    highs = [point.gain.value + (point.gain.error or 0.0) for point in shown]
    for point in points:  # a marked candidate is shown where it fits without squeezing the others
        if point.gain.value > min(lows) - (max(highs) - min(lows)):
            lows.append(point.gain.value)
            highs.append(point.gain.value)
    low, high = min(lows), max(highs)
    room = max(0.08 * (high - low), (FEWEST_NATS - (high - low)) / 2)
    return Axis(low - room, high + room, width)


def _distance_axis(distances: Sequence[Figure], height: int) -> Axis:
    lows = [one.value - (one.error or 0.0) for one in distances]
    highs = [one.value + (one.error or 0.0) for one in distances]
    errors = sorted(one.error for one in distances if one.error)
    usual = errors[len(errors) // 2] if errors else 0.0
    low, high = min(0.0, *lows), max(highs)
    if usual and high > WIDE_RATIO * usual:
        return Axis(1.3 * low, 1.6 * high, height, bend=3.0 * usual)
    room = 0.08 * (high - low) or 0.05
    return Axis(low - room / 2, high + room, height)


def _floor_layers(floors: Sequence[tuple[str, Figure]], across: Axis, channels: Channels) -> list[Spec]:
    dashed = {"type": "line", "color": MUTED, "strokeDash": [4, 4], "strokeWidth": 1.5}
    return [
        layer([{"x": end, "y": level.value} for end in (across.low, across.high)], dashed, **channels)
        for _, level in floors
    ]


def _errors(points: Sequence[Point], across: Axis, up: Axis, channels: Channels) -> Spec:
    """One standard error to each side, both ways."""
    bars = []
    for point in points:
        gain, distance = _inside(point, across), point.distance.value
        beyond = point.gain.value < across.low
        error, spread = 0.0 if beyond else point.gain.error or 0.0, point.distance.error or 0.0
        low, high = (min(max(gain + side * error, across.low), across.high) for side in (-1, 1))
        bars.append({"x": low, "x2": high, "y": distance, "y2": distance})
        bars.append({"x": gain, "x2": gain, "y": max(distance - spread, up.low), "y2": distance + spread})
    rule = {"type": "rule", "color": MUTED, "strokeWidth": 1.2}
    return layer(bars, rule, **channels, x2={"field": "x2"}, y2={"field": "y2"})


def _mark(point: Point, across: Axis, channels: Channels) -> Spec:
    look = dict(_LOOKS[point.kind])
    if point.gain.value < across.low:
        look |= {"shape": "triangle-left", "size": 110}
    where = [{"x": _inside(point, across), "y": point.distance.value}]
    return layer(where, {"type": "point", "opacity": 1, **look}, **channels)


def _labels(points: Sequence[Point], floors: Sequence[tuple[str, Figure]], across: Axis, up: Axis) -> list[Label]:
    """The winner's first: it gets the best place."""
    places = [(across.at(_inside(point, across)), up.at(point.distance.value)) for point in points]
    order = sorted(range(len(points)), key=lambda place: points[place].kind != "chosen")
    wishes = [_wishes(points[place], *places[place], across) for place in order]
    for name, level in floors:
        y = up.at(level.value)
        ends = [(share, side) for share in (1.0, 0.75, 0.5, 0.3) for side in (0.6, -0.6)]
        wishes.append([Label(name, across.pixels * share - 4, y + side * LINE, True, MUTED) for share, side in ends])
    return placed(wishes, places, across.pixels, up.pixels)


def _wishes(point: Point, x: float, y: float, across: Axis) -> list[Label]:
    """Beside its mark, towards the middle of the chart rather than away from it, and not far above or below."""
    beyond = f" ({number(point.gain.value, 1)})" if point.gain.value < across.low else ""
    longest = min(LONGEST, int(across.pixels / 2 / LETTER)) - len(beyond)
    text = shortened(point.name, longest) + beyond
    sides = (True, False) if x > 0.62 * across.pixels else (False, True)
    return [
        Label(text, x + (-12 if left else 12), y + lines * LINE, left, _INKS[point.kind], point.kind == "chosen")
        for lines in (0.6, -0.6, 1.5, -1.5, 2.4, -2.4, 3.3, -3.3)
        for left in sides
    ]


def _inside(point: Point, across: Axis) -> float:
    """The gain, or the left edge where it lies beyond."""
    room = (across.high - across.low) * 0.015
    return max(point.gain.value, across.low + room)
