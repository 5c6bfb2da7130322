"""An axis whose numbers can be turned into pixels and back, so that labels know where they are."""

from dataclasses import dataclass
from math import expm1, floor, log1p, log10

from workers.reporting.charts import Spec, quantitative


@dataclass(frozen=True, slots=True)
class Axis:
    """Numbers to pixels and back; logarithmic on both sides of 0 with `bend`, the number where it turns."""

    low: float
    high: float
    pixels: float
    bend: float | None = None

    def at(self, value: float) -> float:
        """The pixel of a number, from the low end."""
        low, high = self._bent(self.low), self._bent(self.high)
        return (self._bent(value) - low) / (high - low) * self.pixels

    def back(self, pixel: float) -> float:
        """The number at a pixel."""
        low, high = self._bent(self.low), self._bent(self.high)
        bent = low + pixel / self.pixels * (high - low)
        if self.bend is None:
            return bent
        return (1 if bent >= 0 else -1) * expm1(abs(bent)) * self.bend

    def channel(self, field: str, title: str) -> Spec:
        """The channel that shows these numbers with this axis."""
        if self.bend is None:
            return quantitative(field, [self.low, self.high], axis={"title": title, "tickCount": 6})
        ticks = {"title": title, "format": "~g", "values": self._ticks(self.bend)}
        bent = {"type": "symlog", "constant": self.bend}
        return quantitative(field, [self.low, self.high], axis=ticks, scale=bent)

    def _ticks(self, bend: float) -> list[float]:
        """0, and 1 and 3 times the powers of ten beyond the bend."""
        steps = [share * 10.0**power for power in range(floor(log10(bend)), 9) for share in (1.0, 3.0)]
        return [0.0, *(step for step in steps if bend <= step <= self.high)]

    def _bent(self, value: float) -> float:
        if self.bend is None:
            return value
        return (1 if value >= 0 else -1) * log1p(abs(value) / self.bend)
