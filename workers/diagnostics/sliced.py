"""Sliced Wasserstein distance: optimal transport along fixed directions, where sorting solves it."""

import numpy as np
from numpy.typing import NDArray

from workers.diagnostics.bootstrap import basic_interval, resampled_counts
from workers.diagnostics.features import checked_pair
from workers.posteriors.estimate import Interval
from workers.randomness import Stream, normals

DIRECTIONS = 128
DIRECTION_SEED = 0  # the same directions in every report, so that reports can be compared

Floats = NDArray[np.float64]


def sliced_wasserstein(rows: Floats, reference: Floats, *, seed: int) -> Interval:
    """SW^2 = mean over 128 unit directions a of mean_i (sorted a'x - sorted a'y)_i^2, features (n, d) and (n, d).

    Squared, as Frechet distances are: the noise in it then adds, and the basic bootstrap takes it away (Bonneel and
    others, 2015). Equal laws give 0 on average, so the value may be below 0.
    """
    checked_pair(rows, reference)
    directions = unit_directions(rows.shape[1])
    x, y = _Projections(rows @ directions.T), _Projections(reference @ directions.T)
    once = np.ones(len(rows))
    found = _mean_square(x.sorted(once), y.sorted(once))
    resampled = [
        _mean_square(x.sorted(of_x), y.sorted(of_y)) for of_x, of_y in resampled_counts(len(rows), len(rows), seed=seed)
    ]
    return basic_interval(found, resampled)


def unit_directions(size: int) -> Floats:
    """The fixed directions, (128, size), each of norm 1."""
    drawn = normals(DIRECTION_SEED, Stream.PROJECTIONS, 0, DIRECTIONS, size)
    directions: Floats = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return directions


class _Projections:
    """Projections (n, directions), sorted once: a resample repeats values in their order and needs no sorting."""

    def __init__(self, projected: Floats) -> None:
        along = np.ascontiguousarray(projected.T)
        self._order = np.argsort(along, axis=1)
        self._values = np.take_along_axis(along, self._order, axis=1).ravel()

    def sorted(self, counts: Floats) -> Floats:
        """The projections (directions * n,) of rows that occur `counts` (n,) times, sorted within each direction."""
        return np.repeat(self._values, counts.astype(np.int64)[self._order].ravel())


def _mean_square(one: Floats, other: Floats) -> float:
    difference = one - other
    return float(difference @ difference) / len(difference)
