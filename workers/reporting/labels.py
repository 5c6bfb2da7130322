"""Labels of a chart that cover neither each other nor the marks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workers.reporting.axis import Axis
from workers.reporting.charts import FONT_SIZE, Spec, layer

LETTER = 0.56 * FONT_SIZE  # width of a letter, about
LINE = FONT_SIZE + 4
MARK = 8.0  # pixels from the middle of a mark to its border


@dataclass(frozen=True, slots=True)
class Label:
    """A text at (x, y), in pixels from the lower left corner; y is the middle of its line."""

    text: str
    x: float
    y: float
    right_aligned: bool
    colour: str
    bold: bool = False

    @property
    def span(self) -> tuple[float, float]:
        """Where it begins and ends."""
        width = LETTER * len(self.text)
        return (self.x - width, self.x) if self.right_aligned else (self.x, self.x + width)

    def covers(self, other: "Label") -> bool:
        """Whether two texts lie on each other."""
        (low, high), (start, end) = self.span, other.span
        return abs(self.y - other.y) < LINE - 2 and start < high and low < end

    def hides(self, x: float, y: float) -> bool:
        """Whether a mark lies below the text."""
        low, high = self.span
        return low - MARK < x < high + MARK and abs(self.y - y) < LINE / 2 + MARK - 7

    def leaves(self, width: float, height: float) -> bool:
        """Whether a part lies outside the chart."""
        low, high = self.span
        return low < 0 or high > width + 40 or self.y < LINE / 2 or self.y > height


def placed(
    wishes: Sequence[Sequence[Label]], marks: Sequence[tuple[float, float]], width: float, height: float
) -> list[Label]:
    """For each text its first place that is free, one text after the other; where none is, the least covered."""
    found: list[Label] = []
    for places in wishes:

        def faults(label: Label) -> int:
            texts = sum(label.covers(other) for other in found)
            hidden = sum(label.hides(x, y) for x, y in marks)
            return 3 * texts + hidden + 4 * label.leaves(width, height)

        found.append(min(places, key=faults))
    return found


def label_layers(labels: Sequence[Label], across: Axis, up: Axis, channels: Mapping[str, Spec]) -> list[Spec]:
    """Each text twice: first as a white edge, so that lines do not run through its letters."""
    layers = []
    for label in reversed(labels):  # the first, of the winner, lies on top
        place = [{"x": across.back(label.x), "y": up.back(label.y), "text": label.text}]
        look = {
            "type": "text",
            "align": "right" if label.right_aligned else "left",
            "baseline": "middle",
            "color": label.colour,
            "fontWeight": "bold" if label.bold else "normal",
        }
        edge = {**look, "stroke": "white", "strokeWidth": 4, "strokeJoin": "round"}
        text = {"field": "text", "type": "nominal"}
        layers += [layer(place, edge, **channels, text=text), layer(place, look, **channels, text=text)]
    return layers
