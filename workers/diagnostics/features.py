"""What rows are compared by: their principal components, scaled by one common factor."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_FEATURES = 64
ROWS_PER_FEATURE = 10
BLOCK_ROWS = 512  # rows of a matrix of pairs that are held at once

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


def checked_pair(rows: Floats, reference: Floats, *, least: int = 2) -> None:
    """Refuses features that are not (n, d) and (n, d), n >= `least`: distances depend on n, so both have the same."""
    if rows.shape != reference.shape or rows.ndim != 2 or len(rows) < least:
        shapes = f"features of shapes {rows.shape} and {reference.shape}"
        raise ValueError(f"{shapes}; equally many rows, at least {least}, are needed")


def row_blocks(rows: int) -> Iterator[slice]:
    """Ranges that cover `rows` rows, each short enough to hold its pairs with all others."""
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
