"""Monotonic rational-quadratic splines on [-5, 5], the identity outside (Durkan and others, 2019)."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

BOUND = 5.0
LOG_SLOPE = float(np.log(1e-3))  # widths, heights and slopes stay within a factor of 1,000, which bounds the inverse


class Splines:
    """One spline for each number that it is applied to, (...): K bins from raw numbers (..., 3K - 1).

    The raw numbers are K widths, K heights and K - 1 slopes at the inner knots, as zuko's MonotonicRQSTransform takes
    them: each is squashed by r / (1 + |c r / ln 1e-3|), then softmax makes the bins, and exp the slopes.
    """

    def __init__(self, raw: Floats) -> None:
        bins = (raw.shape[-1] + 1) // 3
        self.across = _knots(raw[..., :bins])
        self.up = _knots(raw[..., bins : 2 * bins])
        inner = raw[..., 2 * bins :]
        self.slopes = np.ones((*raw.shape[:-1], bins + 1))
        np.exp(inner / (1.0 + np.abs(inner / LOG_SLOPE)), out=self.slopes[..., 1:-1])

    def forward(self, x: Floats) -> tuple[Floats, Floats]:
        """y = f(x) and ln f'(x), both (...)."""
        inside, x0, width, y0, height, d0, d1 = self._bins(self.across, x)
        slope = height / width
        z = np.where(inside, (x - x0) / width, 0.5)
        both = z * (1.0 - z)
        below = slope + (d0 + d1 - 2.0 * slope) * both
        y = y0 + height * (slope * z * z + d0 * both) / below
        rise = slope * slope * (2.0 * slope * both + d0 * (1.0 - z) ** 2 + d1 * z * z) / (below * below)
        return np.where(inside, y, x), np.where(inside, np.log(rise), 0.0)

    def inverse(self, y: Floats) -> Floats:
        """x with f(x) = y, (...): the root of a quadratic, in the form that does not cancel."""
        inside, x0, width, y0, height, d0, d1 = self._bins(self.up, y)
        slope = height / width
        offset = np.where(inside, y - y0, 0.0)
        bend = offset * (d0 + d1 - 2.0 * slope)
        a, b, c = height * (slope - d0) + bend, height * d0 - bend, -slope * offset
        z = 2.0 * c / (-b - np.sqrt(np.maximum(b * b - 4.0 * a * c, 0.0)))
        return np.where(inside, x0 + z * width, y)

    def _bins(
        self, knots: Floats, at: Floats
    ) -> tuple[NDArray[np.bool_], Floats, Floats, Floats, Floats, Floats, Floats]:
        """Whether each number lies within the knots; left, width, bottom, height and both slopes of its bin."""
        last = knots.shape[-1] - 2
        number = (knots < at[..., None]).sum(axis=-1) - 1
        left = np.clip(number, 0, last)[..., None]
        x0, y0, d0 = (np.take_along_axis(of, left, axis=-1)[..., 0] for of in (self.across, self.up, self.slopes))
        x1, y1, d1 = (np.take_along_axis(of, left + 1, axis=-1)[..., 0] for of in (self.across, self.up, self.slopes))
        return (number >= 0) & (number <= last), x0, x1 - x0, y0, y1 - y0, d0, d1


def _knots(raw: Floats) -> Floats:
    """(..., K + 1) knots from -5 to 5, the shares between them by softmax."""
    shares = np.exp(raw / (1.0 + np.abs(2.0 * raw / LOG_SLOPE)))
    knots = np.empty((*raw.shape[:-1], raw.shape[-1] + 1))
    knots[..., 0] = -BOUND
    np.cumsum(shares, axis=-1, out=knots[..., 1:])
    knots[..., 1:] *= 2.0 * BOUND / knots[..., -1:]
    knots[..., 1:] -= BOUND
    return knots
