"""Paths between the means of encoded rows."""

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import InvalidRequest
from latentmill.specs import Interpolate
from workers.posteriors.draws import posteriors_at
from workers.posteriors.encoding import Encoding
from workers.sampling.labels import CountedLabels

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

SMALLEST_SINE = 1e-6  # of the angle between two directions: float32 means tell no circle apart below it


class PathRows:
    """Row i is step i mod n on the path of pair i div n; rows past the last begin again with the first pair.

    Without counted labels a row has the class of its nearer end, the middle that of the first. No noise is used.
    """

    def __init__(
        self, encoding: Encoding, strategy: Interpolate, classes: Numbers | None, labels: CountedLabels | None
    ) -> None:
        self.encoding, self.classes, self.labels = encoding, classes, labels
        self.pairs = np.array(strategy.pairs, dtype=np.int64)
        self.steps = strategy.steps
        self.path = spherical_path if strategy.path == "spherical" else linear_path

    def place(self, first_row: int, rows: int) -> tuple[Floats, Numbers | None]:
        """Latents and labels of a whole block."""
        turns = np.arange(first_row, first_row + rows, dtype=np.int64) % (len(self.pairs) * self.steps)
        pairs, steps = np.divmod(turns, self.steps)
        first, last = self.pairs[pairs].T
        share = steps / (self.steps - 1)
        latents = self.path(posteriors_at(self.encoding, first)[0], posteriors_at(self.encoding, last)[0], share)
        if self.labels is not None:
            return latents, self.labels.of_rows(first_row, rows)
        if self.classes is None or self.encoding.labels is None:
            return latents, None
        nearer = np.where(share <= 0.5, first, last)
        return latents, self.classes[np.asarray(self.encoding.labels[nearer])]


def linear_path(first: Floats, last: Floats, share: Floats) -> Floats:
    """z = (1 - t) a + t b, (n, D), for t (n,) in [0, 1]; a at 0 and b at 1 to the last bit."""
    t = share[:, None]
    result: Floats = (1.0 - t) * first + t * last
    return result


def spherical_path(first: Floats, last: Floats, share: Floats) -> Floats:
    """Directions along the great circle, lengths in a line: z = |z| (sin((1-t) w) a' + sin(t w) b') / sin w.

    a' = a / |a|, b' = b / |b|, |z| = (1 - t) |a| + t |b|; w is the angle between a' and b' (Shoemake, 1985), taken
    from their chords as 2 atan2(|a' - b'|, |a' + b'|), which keeps its digits near 0 and pi. Weighting a and b
    themselves, as is often done, runs off to infinity between opposite vectors of different lengths. Linear where
    sin w < 1e-6 or an end is 0: there no circle is singled out. Ends to the last bit.
    """
    lengths = np.linalg.norm(first, axis=1), np.linalg.norm(last, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):  # an end at 0 has no direction: linear below
        a, b = first / lengths[0][:, None], last / lengths[1][:, None]
        angle = 2.0 * np.arctan2(np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1))
        length = ((1.0 - share) * lengths[0] + share * lengths[1]) / np.sin(angle)
        curved = (length * np.sin((1.0 - share) * angle))[:, None] * a + (length * np.sin(share * angle))[:, None] * b
        known = np.sin(angle) >= SMALLEST_SINE  # False for NaN
    inside = (share > 0.0) & (share < 1.0)
    return np.where((known & inside)[:, None], curved, linear_path(first, last, share))


def check_path(strategy: Interpolate, rows: int, encoded_rows: int) -> None:
    """The job has pairs x steps rows, and the pairs name rows that there are."""
    if rows != strategy.rows:
        raise InvalidRequest(
            f"{len(strategy.pairs):,} pairs of {strategy.steps:,} steps are {strategy.rows:,} rows, not {rows:,}.",
            pointer="/rows",
        )
    largest = max(max(pair) for pair in strategy.pairs)
    if largest >= encoded_rows:
        raise InvalidRequest(
            f"Row {largest:,} is an end; the dataset has rows 0 to {encoded_rows - 1:,}.", pointer="/strategy/pairs"
        )
