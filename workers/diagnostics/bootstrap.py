"""The basic bootstrap: how far a distance of two samples may be off, and what its own noise adds to it."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from workers.posteriors.estimate import Interval
from workers.randomness import Stream, uniforms

RESAMPLES = 200
TAIL = 0.025

Counts = NDArray[np.float64]


def resampled_counts(rows: int, reference_rows: int, *, seed: int) -> Iterator[tuple[Counts, Counts]]:
    """How often each row of either sample is chosen, (rows,) and (reference_rows,), in each of 200 resamples.

    Both samples are drawn again, with replacement: the reference is a sample too.
    """
    both = rows + reference_rows
    for number in range(RESAMPLES):
        u = uniforms(seed, Stream.BOOTSTRAP, number * both, both)
        yield _counts(u[:rows]), _counts(u[rows:])


def basic_interval(found: float, resampled: list[float]) -> Interval:
    """2 found - mean of the resampled, and the interval 2 found - their 97.5 % and 2.5 % quantiles.

    A distance of samples exceeds that of their laws by about the noise in it, and resampling adds as much once more.
    What is subtracted so may leave a value below 0: equal laws give 0 on average. Percentiles of the resampled
    themselves would not cover: they lie above the distance that was found, which lies above the truth (Davison and
    Hinkley, 1997, section 5.2).
    """
    values = np.asarray(resampled)
    low, high = np.quantile(values, [TAIL, 1.0 - TAIL])
    return Interval(2.0 * found - float(values.mean()), 2.0 * found - float(high), 2.0 * found - float(low))


def _counts(u: NDArray[np.float64]) -> Counts:
    return np.bincount((u * len(u)).astype(np.int64), minlength=len(u)).astype(np.float64)
