"""How strongly two columns go together: a number from 0 to 1, with its sign where both are numbers."""

import numpy as np
from numpy.typing import NDArray

from workers.diagnostics.column import Column

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


def association(one: Column, other: Column, counts: Floats | None = None) -> float:
    """Over rows where both are there, each counted as often as `counts` (n,) says; 0 where one does not vary.

    Two of numbers: Pearson's correlation. Two of categories: Cramer's V. One of each: the correlation ratio, the root
    of the share of the variance that lies between the categories. Booleans are categories of two.
    """
    both = one.present & other.present
    if not both.any():
        return 0.0
    if counts is not None:
        both &= counts > 0
        if not both.any():
            return 0.0
    a, b = one.values[both], other.values[both]
    w = np.ones(len(a)) if counts is None else counts[both]
    if one.is_category and other.is_category:
        return cramers_v(a, b, w)
    if one.is_category:
        return correlation_ratio(a, b, w)
    return correlation_ratio(b, a, w) if other.is_category else correlation(a, b, w)


def correlation(a: Floats, b: Floats, w: Floats | None = None) -> float:
    """Pearson's r of (n,) and (n,), row i counted w[i] times."""
    w = np.ones(len(a)) if w is None else w
    x, y = a - np.average(a, weights=w), b - np.average(b, weights=w)
    scale = float(np.sqrt(w @ (x * x)) * np.sqrt(w @ (y * y)))
    return float(w @ (x * y)) / scale if scale > 0 else 0.0


def cramers_v(a: Numbers, b: Numbers, w: Floats | None = None) -> float:
    """sqrt(chi^2 / (n min(r - 1, c - 1))) of the table of counts, r and c the categories that occur."""
    w = np.ones(len(a)) if w is None else w
    first, second = (np.unique(x, return_inverse=True)[1] for x in (a, b))
    rows, columns = int(first.max()) + 1, int(second.max()) + 1
    if min(rows, columns) < 2:
        return 0.0
    counts = np.bincount(first * columns + second, w, minlength=rows * columns).reshape(rows, columns)
    n = counts.sum()
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / n
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    return float(np.sqrt(chi_square / (n * (min(rows, columns) - 1))))


def correlation_ratio(categories: Numbers, values: Floats, w: Floats | None = None) -> float:
    """eta = sqrt(sum_k n_k (mean_k - mean)^2 / sum_i (x_i - mean)^2)."""
    w = np.ones(len(values)) if w is None else w
    centred = values - np.average(values, weights=w)
    total = float(w @ (centred * centred))
    if total <= 0:
        return 0.0
    number = np.unique(categories, return_inverse=True)[1]
    sums, sizes = np.bincount(number, weights=w * centred), np.bincount(number, weights=w)
    return float(np.sqrt(min(float((sums**2 / sizes).sum()) / total, 1.0)))
