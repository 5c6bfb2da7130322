"""KL(q(z) || p) as a bracket, and how much of it is shown to lie beyond the moments."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.posteriors.estimate import Estimate, grouped_mean

ZERO, LEAVE_ONE_OUT = "zero", "leave-one-out"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MarginalKl:
    """At least `value`, by the bound named `method`; at most `upper`, which says nothing when `saturated`."""

    value: float
    standard_error: float
    upper: float | None
    method: str
    saturated: bool

    @property
    def lower(self) -> Estimate:
        return Estimate(self.value, self.standard_error)

    def as_json(self) -> dict[str, Any]:
        """As fits and reports show it."""
        return {**self.lower.as_json(), "upper": self.upper, "method": self.method, "saturated": self.saturated}


def marginal_kl(lower: Mapping[str, Estimate], *, upper: float | None, saturated: bool) -> MarginalKl:
    """The largest of 0 and the named lower bounds, each at most KL(q || p) in expectation.

    A bound is the gain of a density over the prior on held-out rows, KL(q || p) - KL(q || f), or leave-one-out. The
    largest of k noisy bounds is too large by about an error of theirs times sqrt(2 ln k), so read it with its error.
    """
    bounds = {ZERO: Estimate(0.0, 0.0)} | {name: bound for name, bound in lower.items() if isfinite(bound.value)}
    method = max(bounds, key=lambda name: bounds[name].value)
    return MarginalKl(bounds[method].value, bounds[method].standard_error, upper, method, saturated)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out log densities (n,) by name, of the same draws, and of the baseline (the prior); groups of the rows.

    A score is NaN at rows that were not scored. labels: their texts, (n,), for what is measured per label.
    """

    scores: Mapping[str, Floats]
    baseline: Floats
    groups: NDArray[np.int64]
    labels: NDArray[np.str_] | None = None

    def of_label(self, name: str) -> "HeldOut | None":
        """The rows of one label; None where there are none."""
        if self.labels is None or not np.any(mine := self.labels == name):
            return None
        scores = {of: score[mine] for of, score in self.scores.items()}
        return HeldOut(scores, self.baseline[mine], self.groups[mine], self.labels[mine])

    def gains(self) -> dict[str, Estimate]:
        """mean_i (l_f,i - l_p,i) of each density: lower bounds of KL(q || p)."""
        found = {name: self.difference(name, None) for name in self.scores}
        return {name: gain for name, gain in found.items() if gain is not None}

    def difference(self, name: str, other: str | None) -> Estimate | None:
        """mean_i (l_name,i - l_other,i), paired over rows that both scored; None is the baseline."""
        against = self.baseline if other is None else self.scores[other]
        differences = self.scores[name] - against
        scored = ~np.isnan(differences)
        if not scored.any():
            return None
        if np.any(np.isinf(differences[scored])):  # a density that has no mass somewhere is ruled out
            return Estimate(float(differences[scored].min()), float("inf"))
        return grouped_mean(differences[scored], self.groups[scored])


def negentropy(bracket: MarginalKl, held_out: HeldOut, gaussian: str) -> Estimate | None:
    """What a better density than N(m, S) is shown to recover: the lower end less the held-out gain of N(m, S).

    KL(q || p) = gain of N(m, S) + KL(q || N(m, S)), so that this is a lower bound of the second. The error is that of
    paired differences on the same rows where the bound is a held-out gain, of the gain of N(m, S) where it is 0 (the
    gain of the prior itself), and that of two independent samples where it is leave-one-out, which has other rows.
    """
    gain = held_out.difference(gaussian, None)
    if gain is None:
        return None
    value = bracket.value - gain.value
    if bracket.method == LEAVE_ONE_OUT:
        return Estimate(value, hypot(bracket.standard_error, gain.standard_error))
    if bracket.method == ZERO:
        return Estimate(value, gain.standard_error)
    paired = held_out.difference(bracket.method, gaussian)
    return None if paired is None else Estimate(value, paired.standard_error)
