"""Kernel distance: an unbiased MMD^2 of features, with an error that covers."""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from workers.diagnostics.features import checked_pair, row_blocks
from workers.posteriors.estimate import Estimate

Floats = NDArray[np.float64]


def kernel_distance(rows: Floats, reference: Floats) -> Estimate:
    """Unbiased MMD^2 of features (n, d) and (n, d) with k = (x'y / d + 1)^3 (Binkowski and others, 2018).

    SE = 2 sd(h_i) / sqrt n with h_i the row sums of the U-statistic over n - 1. It may be below 0, as 0 is its mean
    for equal laws.
    """
    return _estimate(kernel_row_means(rows, reference))


def kernel_distance_difference(rows: Floats, others: Floats, reference: Floats) -> Estimate:
    """kernel_distance(rows) - kernel_distance(others) for one reference, with the error of the paired difference."""
    return _estimate(kernel_row_means(rows, reference) - kernel_row_means(others, reference))


def kernel_row_means(rows: Floats, reference: Floats) -> Floats:
    """h_i = sum over j != i of k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i), over n - 1; (n,).

    Their mean is the distance. Twice the deviation of h_i from it is what row i adds to the error.
    """
    checked_pair(rows, reference)
    return (_own_sums(rows) + _own_sums(reference) - _cross_sums(rows, reference)) / (len(rows) - 1)


def _estimate(row_means: Floats) -> Estimate:
    return Estimate(float(row_means.mean()), 2.0 * float(row_means.std(ddof=1)) / sqrt(len(row_means)))


def _own_sums(x: Floats) -> Floats:
    """sum over j != i of k(x_i, x_j), (n,)."""
    sums = np.empty(len(x))
    for block in row_blocks(len(x)):
        pairs = _kernel(x[block], x)
        sums[block] = pairs.sum(axis=1) - np.diagonal(pairs, offset=block.start)
    return sums


def _cross_sums(x: Floats, y: Floats) -> Floats:
    """sum over j != i of k(x_i, y_j) + k(x_j, y_i), (n,): row and column sums of one matrix."""
    sums = np.zeros(len(x))
    for block in row_blocks(len(x)):
        pairs = _kernel(x[block], y)
        sums += pairs.sum(axis=0)
        sums[block] += pairs.sum(axis=1) - 2.0 * np.diagonal(pairs, offset=block.start)
    return sums


def _kernel(x: Floats, y: Floats) -> Floats:
    inner = x @ y.T
    inner /= x.shape[1]
    inner += 1.0
    square = inner * inner
    square *= inner
    result: Floats = square
    return result
