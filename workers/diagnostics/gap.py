"""How much of the way from the prior's rows to the best that a decoder can do a candidate goes."""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from workers.diagnostics.kernel import kernel_row_means
from workers.posteriors.estimate import Estimate

SHOWN_ERRORS = 3.0  # of the gap itself: a share of a gap that may be none says nothing

Floats = NDArray[np.float64]


def gap_closed(prior: Floats, candidate: Floats, reconstruction: Floats, reference: Floats) -> Estimate | None:
    """(KD_prior - KD_candidate) / (KD_prior - KD_reconstruction) of features (n, d) against one reference (n, d).

    0 is no better than the prior, 1 as good as reconstructions of real rows; beyond either is possible. The error is
    the delta method's over rows: row i moves the ratio R = A / B by 2 ((a_i - A) - R (b_i - B)) / B, with a_i, b_i the
    differences of row means. None where the gap B is not above 3 of its errors.
    """
    from_prior = kernel_row_means(prior, reference)
    return gap_of(from_prior, kernel_row_means(candidate, reference), kernel_row_means(reconstruction, reference))


def gap_of(prior: Floats, candidate: Floats, reconstruction: Floats) -> Estimate | None:
    """`gap_closed` from the row means (n,) of the three kernel distances, for callers that have them already."""
    closed, gap = prior - candidate, prior - reconstruction
    rows, size = len(gap), float(gap.mean())
    if size <= SHOWN_ERRORS * _error(gap, rows):
        return None
    ratio = float(closed.mean()) / size
    return Estimate(ratio, _error(closed - ratio * gap, rows) / size)


def _error(row_means: Floats, rows: int) -> float:
    return 2.0 * float(row_means.std(ddof=1)) / sqrt(rows)
