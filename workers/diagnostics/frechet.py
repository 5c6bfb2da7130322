"""Frechet distance between the Gaussians with the moments of two samples, corrected for the size of the samples."""

import numpy as np
from numpy.typing import NDArray

from workers.diagnostics.bootstrap import basic_interval, resampled_counts
from workers.diagnostics.features import checked_pair
from workers.posteriors.estimate import Interval

Floats = NDArray[np.float64]
Moments = tuple[Floats, Floats]


def frechet_distance(rows: Floats, reference: Floats, *, seed: int) -> Interval:
    """FD = |m_x - m_y|^2 + tr(S_x + S_y - 2 (S_x S_y)^1/2) of features (n, d) and (n, d), by the basic bootstrap.

    The squared 2-Wasserstein distance of two Gaussians (Dowson and Landau, 1982; Heusel and others, 2017). The plain
    value grows as 1/n even for equal laws; 2 FD - mean bootstrap FD takes that away and may be below 0.
    """
    checked_pair(rows, reference)
    centre = reference.mean(axis=0)
    x, y = rows - centre, reference - centre
    once = np.ones(len(x))
    found = frechet(_moments(x, once), _moments(y, once))
    resampled = [
        frechet(_moments(x, of_x), _moments(y, of_y)) for of_x, of_y in resampled_counts(len(x), len(y), seed=seed)
    ]
    return basic_interval(found, resampled)


def frechet(one: Moments, other: Moments) -> float:
    """The Frechet distance of N(m, S) and N(m', S'), each given as (mean (d,), covariance (d, d)).

    tr (S S')^1/2 is the sum of the square roots of the eigenvalues of A' S' A with A A' = S, which is symmetric.
    """
    (mean, covariance), (other_mean, other_covariance) = one, other
    root = _root(covariance)
    eigenvalues = np.linalg.eigvalsh(root.T @ other_covariance @ root)
    common = float(np.sqrt(np.maximum(eigenvalues, 0.0)).sum())
    shift = mean - other_mean
    return float(shift @ shift) + float(np.trace(covariance) + np.trace(other_covariance)) - 2.0 * common


def _moments(rows: Floats, counts: Floats) -> Moments:
    """Mean and unbiased covariance of rows that occur `counts` (n,) times."""
    total = counts.sum()
    mean = counts @ rows / total
    covariance = ((rows * counts[:, None]).T @ rows - total * np.outer(mean, mean)) / (total - 1.0)
    return mean, covariance


def _root(covariance: Floats) -> Floats:
    """A with A A' = covariance; also where it is singular, as for a feature that never changes."""
    try:
        root: Floats = np.linalg.cholesky(covariance).astype(np.float64)
    except np.linalg.LinAlgError:
        variances, axes = np.linalg.eigh(covariance)
        root = axes * np.sqrt(np.maximum(variances, 0.0))
    return root
