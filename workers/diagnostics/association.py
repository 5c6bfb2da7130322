"""How strongly two columns go together: a number from 0 to 1, with its sign where both are numbers."""

import numpy as np
from numpy.typing import NDArray

from workers.diagnostics.column import Column

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


def association(one: Column, other: Column) -> float:
    """Over rows where both are there; 0 where one of them does not vary.

    Two of numbers: Pearson's correlation. Two of categories: Cramer's V. One of each: the correlation ratio, the root
    of the share of the variance that lies between the categories. Booleans are categories of two.
    """
    both = one.present & other.present
    if not both.any():
        return 0.0
    a, b = one.values[both], other.values[both]
    if one.is_category and other.is_category:
        return cramers_v(a, b)
    if one.is_category:
        return correlation_ratio(a, b)
    return correlation_ratio(b, a) if other.is_category else correlation(a, b)


def correlation(a: Floats, b: Floats) -> float:
    """Pearson's r of (n,) and (n,)."""
    x, y = a - a.mean(), b - b.mean()
    scale = float(np.sqrt(x @ x) * np.sqrt(y @ y))
    return float(x @ y) / scale if scale > 0 else 0.0


def cramers_v(a: Numbers, b: Numbers) -> float:
    """sqrt(chi^2 / (n min(r - 1, c - 1))) of the table of counts, r and c the categories that occur."""
    first, second = (np.unique(x, return_inverse=True)[1] for x in (a, b))
    rows, columns = int(first.max()) + 1, int(second.max()) + 1
    if min(rows, columns) < 2:
        return 0.0
    counts = np.bincount(first * columns + second, minlength=rows * columns).reshape(rows, columns)
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / len(a)
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    return float(np.sqrt(chi_square / (len(a) * (min(rows, columns) - 1))))


def correlation_ratio(categories: Numbers, values: Floats) -> float:
    """eta = sqrt(sum_k n_k (mean_k - mean)^2 / sum_i (x_i - mean)^2)."""
    centred = values - values.mean()
    total = float(centred @ centred)
    if total <= 0:
        return 0.0
    number = np.unique(categories, return_inverse=True)[1]
    sums, sizes = np.bincount(number, weights=centred), np.bincount(number)
    return float(np.sqrt(min(float((sums**2 / sizes).sum()) / total, 1.0)))
