"""How near made rows lie to reference rows: principal features, and a kernel distance with an error that covers."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workers.posteriors.estimate import Estimate

MAX_FEATURES = 64
ROWS_PER_FEATURE = 10
BLOCK_ROWS = 512  # rows of a kernel matrix that are held at once

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PrincipalFeatures:
    """Features (x - mean) / scale projected on principal axes (P, d), by one common factor of mean squared norm d."""

    mean: Floats
    scale: Floats
    axes: Floats

    def __call__(self, rows: ArrayLike) -> Floats:
        """Features (n, d) of rows (n, ...)."""
        features: Floats = ((_flat(rows) - self.mean) / self.scale) @ self.axes
        return features


def principal_features(fit_rows: ArrayLike, compared_rows: int, *, standardise: bool = False) -> PrincipalFeatures:
    """Principal components of `fit_rows` (n, ...), d = min(64, compared_rows // 10) of them, or fewer where rank ends.

    Standardised columns suit tables; a column that never changes is left out of account. The signs of axes are fixed.
    """
    flat = _flat(fit_rows)
    mean = flat.mean(axis=0)
    centred = flat - mean
    deviation = centred.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0) if standardise else np.ones_like(mean)
    centred /= scale
    wanted = min(MAX_FEATURES, compared_rows // ROWS_PER_FEATURE)
    if wanted < 1:
        raise ValueError(f"{compared_rows} rows are too few to compare; {ROWS_PER_FEATURE} are needed")
    variances, axes = _principal_axes(centred, wanted)
    if len(variances) == 0:
        raise ValueError("all rows are the same: there are no features")
    axes *= np.sqrt(len(variances) / variances.sum())
    return PrincipalFeatures(mean, scale, axes)


def kernel_distance(rows: Floats, reference: Floats) -> Estimate:
    """Unbiased MMD^2 of features (n, d) and (n, d) with k = (x'y / d + 1)^3 (Binkowski and others, 2018).

    SE = 2 sd(h_i) / sqrt n with h_i the row sums of the U-statistic over n - 1. It may be below 0, as 0 is its mean
    for equal laws.
    """
    return _estimate(_row_means(rows, reference))


def kernel_distance_difference(rows: Floats, others: Floats, reference: Floats) -> Estimate:
    """kernel_distance(rows) - kernel_distance(others) for one reference, with the error of the paired difference."""
    return _estimate(_row_means(rows, reference) - _row_means(others, reference))


def _estimate(row_means: Floats) -> Estimate:
    return Estimate(float(row_means.mean()), 2.0 * float(row_means.std(ddof=1)) / sqrt(len(row_means)))


def _row_means(x: Floats, y: Floats) -> Floats:
    """h_i = sum over j != i of k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i), over n - 1; (n,)."""
    if x.shape != y.shape or x.ndim != 2 or len(x) < 2:
        raise ValueError(f"features of shapes {x.shape} and {y.shape}; equally many rows, at least 2, are needed")
    sums = np.empty(len(x))
    for block in _blocks(len(x)):
        pairs = _kernel(x[block], x) + _kernel(y[block], y) - _kernel(x[block], y) - _kernel(y[block], x)
        own = pairs[np.arange(len(pairs)), np.arange(block.start, block.stop)]
        sums[block] = pairs.sum(axis=1) - own
    return sums / (len(x) - 1)


def _kernel(x: Floats, y: Floats) -> Floats:
    inner = x @ y.T
    inner /= x.shape[1]
    inner += 1.0
    result: Floats = inner * inner * inner
    return result


def _blocks(rows: int) -> Iterator[slice]:
    for first in range(0, rows, BLOCK_ROWS):
        yield slice(first, min(first + BLOCK_ROWS, rows))


def _principal_axes(centred: Floats, wanted: int) -> tuple[Floats, Floats]:
    """The largest variances (d,) and their axes (P, d), through whichever of the two products is smaller."""
    rows, width = centred.shape
    wide = width > rows
    variances, vectors = np.linalg.eigh((centred @ centred.T if wide else centred.T @ centred) / rows)
    kept = np.flatnonzero(variances > 1e-12 * max(float(variances[-1]), 0.0))[::-1][:wanted]
    variances, vectors = variances[kept], vectors[:, kept]
    axes = centred.T @ vectors / np.sqrt(variances * rows) if wide else vectors
    largest = np.abs(axes).argmax(axis=0)
    return variances, axes * np.where(axes[largest, np.arange(len(kept))] < 0, -1.0, 1.0)


def _flat(rows: ArrayLike) -> Floats:
    array = np.asarray(rows)
    return array.reshape(len(array), -1).astype(np.float64)
