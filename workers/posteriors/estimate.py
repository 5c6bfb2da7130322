"""A number and how far it may be off."""

from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error."""

    value: float
    standard_error: float

    def as_json(self) -> dict[str, float | None]:
        """The estimate as reports and fits show it; JSON has no infinity, so an unknown error is null."""
        known = isfinite(self.standard_error)
        return {"value": self.value, "standard_error": self.standard_error if known else None}


@dataclass(frozen=True)
class Interval:
    """A value and the interval that covers the truth in 95 % of all samples."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        """The interval as reports show it."""
        return {"value": self.value, "low": self.low, "high": self.high}


def grouped_mean(values: NDArray[np.float64], groups: NDArray[np.int64]) -> Estimate:
    """Mean of `values` (n,), and its error when rows of one group are no independent evidence.

    SE^2 = G / (G - 1) * sum over groups of (sum of deviations in the group)^2 / n^2 (clusters; Liang and Zeger, 1986);
    with groups of one row it is sd / sqrt n. Fewer than two groups: the error is unknown and given as infinite.
    """
    n = len(values)
    mean = float(values.mean())
    numbers = np.unique(groups, return_inverse=True)[1]
    sums = np.bincount(numbers, weights=values - mean)
    if len(sums) < 2:
        return Estimate(mean, float("inf"))
    return Estimate(mean, sqrt(len(sums) / (len(sums) - 1) * float(sums @ sums)) / n)
