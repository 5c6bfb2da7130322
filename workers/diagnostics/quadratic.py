"""A quadratic classifier in closed form: sees means, variances and correlations, and many small differences of them."""

import numpy as np
from numpy.typing import NDArray

PRODUCTS = 16  # leading features whose products are looked at: 120 of them
RIDGE = 0.1  # per row, with terms of variance about 1
LARGEST_SQUARE = 25.0  # one far row must not decide

Floats = NDArray[np.float64]


def quadratic_scores(features: Floats, is_first: NDArray[np.bool_], judged: Floats) -> Floats:
    """Scores (m,) of `judged` rows (m, d): higher for rows like those of `features` (n, d) that `is_first` (n,) marks.

    Ridge regression of the mark on z, z^2 and z_j z_k of the leading features, z standardised; with two classes its
    direction is that of the linear discriminant on these terms.
    """
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    terms, judged_terms = _terms((features - mean) / scale), _terms((judged - mean) / scale)
    centre = terms.mean(axis=0)
    terms -= centre
    target = is_first - is_first.mean()
    gram = terms.T @ terms
    gram[np.diag_indices_from(gram)] += RIDGE * len(terms)
    scores: Floats = (judged_terms - centre) @ np.linalg.solve(gram, terms.T @ target)
    return scores


def _terms(z: Floats) -> Floats:
    """z (n, d), squares, and products of leading features: (n, 2 d + up to 120)."""
    first, second = np.triu_indices(min(PRODUCTS, z.shape[1]), k=1)
    squares = np.minimum(z * z, LARGEST_SQUARE)
    return np.concatenate([z, squares, z[:, first] * z[:, second]], axis=1)
