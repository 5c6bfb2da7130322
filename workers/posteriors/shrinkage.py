"""How far the correlations of few rows are to be trusted."""

import numpy as np
from numpy.typing import NDArray

from workers.posteriors.encoding import Encoding
from workers.posteriors.moments import Moments

ROWS_PER_DIMENSION = 10  # from here on correlations are taken as they are


def shrinkage_of(
    encoding: Encoding, of_rows: NDArray[np.int64], moments: Moments, columns: NDArray[np.int64] | slice = slice(None)
) -> float:
    """l of Schafer and Strimmer (2005) for the means of these rows and columns, whose moments are given.

    l = sum over j != k of var r_jk / sum of r_jk^2, clipped to [0, 1], with x standardised, w_i = x_ij x_ik,
    r_jk = n/(n-1) mean w and var r_jk = n/(n-1)^3 sum (w - mean w)^2. 0 when there are 10 rows per dimension.
    """
    rows, size = moments.rows, len(moments.mean)
    if rows >= ROWS_PER_DIMENSION * size or size == 1 or rows < 2:
        return 0.0
    deviation = np.sqrt(moments.mean_variance)
    scale = np.divide(1.0, deviation, out=np.zeros(size), where=deviation > 0)
    squares = np.zeros((size, size))
    for block in encoding.blocks_of(of_rows):
        x = (np.asarray(encoding.mean[block][:, columns], dtype=np.float64) - moments.mean) * scale
        x *= x
        squares += x.T @ x
    first = moments.scatter * np.outer(scale, scale) / rows
    first *= first
    second = squares / rows
    np.fill_diagonal(first, 0.0)
    np.fill_diagonal(second, 0.0)
    signal = float(first.sum())
    if signal == 0.0:
        return 1.0
    return float(np.clip((second.sum() - signal) / (rows - 1) / signal, 0.0, 1.0))
