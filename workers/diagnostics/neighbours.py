"""Precision, recall, density and coverage: which rows lie within reach of the other sample's rows."""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from workers.diagnostics.features import checked_pair, row_blocks
from workers.posteriors.estimate import Estimate

NEIGHBOURS = 5
ROUNDING = 1e-12  # of the largest squared norm: what a distance from inner products may be off

Floats = NDArray[np.float64]


def manifold_scores(rows: Floats, reference: Floats, k: int = NEIGHBOURS) -> dict[str, Estimate]:
    """Precision, recall, density, coverage of features (n, d) against (n, d).

    The ball of a row reaches to its k-th nearest neighbour within its own sample, border included. precision: share of
    rows in the ball of some reference row; recall: share of reference rows in the ball of some row (Kynkaanniemi and
    others, 2019). density: mean number of reference balls around a row, over k; coverage: share of reference rows with
    a row in their ball (Naeem and others, 2020).

    Errors are sd / sqrt n over rows with the balls as they are. Resampled rows would bring copies, and copies shrink
    the balls: a row bootstrap moves coverage from 0.97 to 0.83.
    """
    checked_pair(rows, reference, least=k + 1)
    centre = reference.mean(axis=0)
    x, y = rows - centre, reference - centre
    slack = ROUNDING * max(float(np.einsum("ij,ij->i", z, z).max()) for z in (x, y))
    own_reach, reach = _squared_reach(x, k) + slack, _squared_reach(y, k) + slack
    balls_around, recalled, covered = np.zeros(len(x)), np.zeros(len(y), dtype=bool), np.zeros(len(y), dtype=bool)
    for block in row_blocks(len(x)):
        distances = _squared_distances(x[block], y)
        inside = distances <= reach
        balls_around[block] = inside.sum(axis=1)
        covered |= inside.any(axis=0)
        recalled |= (distances <= own_reach[block, None]).any(axis=0)
    return {
        "precision": _mean(balls_around > 0),
        "recall": _mean(recalled),
        "density": _mean(balls_around / k),
        "coverage": _mean(covered),
    }


def _squared_reach(x: Floats, k: int) -> Floats:
    """The squared distance of each row to its k-th nearest other row, (n,)."""
    reach = np.empty(len(x))
    for block in row_blocks(len(x)):
        distances = _squared_distances(x[block], x)
        distances[np.arange(len(distances)), np.arange(block.start, block.stop)] = np.inf  # itself
        distances.partition(k - 1, axis=1)
        reach[block] = distances[:, k - 1]
    return reach


def _squared_distances(x: Floats, y: Floats) -> Floats:
    """|x_i - y_j|^2, (n, m), from inner products."""
    distances = x @ y.T
    distances *= -2.0
    distances += np.einsum("ij,ij->i", x, x)[:, None]
    distances += np.einsum("ij,ij->i", y, y)
    result: Floats = distances
    return result


def _mean(values: NDArray[np.float64] | NDArray[np.bool_]) -> Estimate:
    numbers = values.astype(np.float64)
    return Estimate(float(numbers.mean()), float(numbers.std(ddof=1)) / sqrt(len(numbers)))
