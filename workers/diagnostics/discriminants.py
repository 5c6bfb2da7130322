"""Classifiers in closed form: they see shifts, variances and correlations, also many small differences of them."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

PRODUCTS = 16  # leading features whose products are looked at: 120 of them
RIDGE = 0.1  # per row, with terms of variance about 1
LARGEST_SQUARE = 25.0  # one far row must not decide

Floats = NDArray[np.float64]


def linear_scores(features: Floats, is_first: NDArray[np.bool_], judged: Floats) -> Floats:
    """Scores (m,) of `judged` rows (m, d): higher for rows like those of `features` (n, d) that `is_first` (n,) marks.

    Ridge regression of the mark on the standardised features z; with two classes its direction is that of the linear
    discriminant.
    """
    return _ridge_scores(lambda z: z, features, is_first, judged)


def quadratic_scores(features: Floats, is_first: NDArray[np.bool_], judged: Floats) -> Floats:
    """The same on z^2 and on z_j z_k of the leading features."""
    return _ridge_scores(_squares_and_products, features, is_first, judged)


def _ridge_scores(
    terms_of: Callable[[Floats], Floats], features: Floats, is_first: NDArray[np.bool_], judged: Floats
) -> Floats:
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    terms = terms_of((features - mean) / scale)
    centre = terms.mean(axis=0)
    centred = terms - centre
    gram = centred.T @ centred
    gram[np.diag_indices_from(gram)] += RIDGE * len(terms)
    weights = np.linalg.solve(gram, centred.T @ (is_first - is_first.mean()))
    scores: Floats = (terms_of((judged - mean) / scale) - centre) @ weights
    return scores


def _squares_and_products(z: Floats) -> Floats:
    """(n, d + up to 120)."""
    first, second = np.triu_indices(min(PRODUCTS, z.shape[1]), k=1)
    return np.concatenate([np.minimum(z * z, LARGEST_SQUARE), z[:, first] * z[:, second]], axis=1)
