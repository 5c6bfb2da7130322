"""Rate, information and closed-form divergences of one set of rows, and their averages over labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from workers.posteriors.density import Density
from workers.posteriors.encoding import Encoding
from workers.posteriors.estimate import Estimate
from workers.posteriors.gain import rate_by_draws
from workers.posteriors.gaussian import (
    MIN_EIGENVALUE,
    DiagonalGaussian,
    FullGaussian,
    gaussian_kl,
    smallest_correlation_eigenvalue,
)
from workers.posteriors.information import MAX_ROWS, Information, information_of
from workers.posteriors.marginals import marginal_kls, marginals_of
from workers.posteriors.measurement import Measurement
from workers.posteriors.mixture import GaussianMixture
from workers.posteriors.prior import is_standard_normal
from workers.posteriors.shrinkage import shrinkage_of
from workers.posteriors.split import Split

MAX_RATE_ROWS = 50_000  # rows whose rate is estimated by draws; its error says what the others would add

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Divergence:
    """Of one set of rows. rate: R, None where there is no prior or no noise; gaussian_kl: KL(N(m, S) || p), None where
    p is not Gaussian or S is singular; marginals: KL(q(z_j) || p_j), (D,), NaN where not measured.
    """

    rows: int
    rate: Estimate | None
    information: Information
    gaussian_kl: float | None
    marginals: Floats

    @property
    def upper(self) -> float | None:
        """R - I, the KL of the n-row mixture: at least KL(q || p) in expectation."""
        if self.rate is None or self.information.index_code is None:
            return None
        return self.rate.value - self.information.index_code.value


@dataclass(frozen=True, eq=False)
class Measurer:
    """What the rows of an encoding are measured against; without a prior `baseline` takes its place in gains."""

    encoding: Encoding
    prior: Density | None
    baseline: Density
    seed: int
    check: Callable[[], None]

    def of(self, split: Split, measured: Measurement, *, share: float = 1.0, first_draw: int = 0) -> Divergence:
        """Of the rows of `split`, which are `share` of all that information is measured on."""
        learned = next(rows for rows in (split.fit, split.training, split.holdout) if len(rows))
        rows = np.sort(np.concatenate([split.holdout, split.training]))
        information = information_of(
            self.encoding, learned, self.baseline, seed=self.seed,
            limit=max(1, round(share * MAX_ROWS)), first_draw=first_draw, check=self.check,
        )  # fmt: skip
        marginals = marginals_of(self.prior)
        none = np.full(self.encoding.latent_size, np.nan)
        return Divergence(
            rows=len(rows),
            rate=self.rate(split, measured),
            information=information,
            gaussian_kl=self._gaussian_kl(rows, measured),
            marginals=none
            if marginals is None
            else marginal_kls(self.encoding, rows, measured.rate, marginals, check=self.check),
        )

    def rate(self, split: Split, measured: Measurement) -> Estimate | None:
        """mean KL(q(z|x) || p): exact for N(0, I), by draws for other priors, which those of other rows share."""
        if self.prior is None or not measured.has_std:
            return None
        if is_standard_normal(self.prior):
            return Estimate(float(measured.rate.sum()), 0.0)
        rows = np.concatenate([split.holdout, split.training])[:MAX_RATE_ROWS]
        return rate_by_draws(self.encoding, rows, self.prior, split.groups[rows], seed=self.seed, check=self.check)

    def _gaussian_kl(self, rows: NDArray[np.int64], measured: Measurement) -> float | None:
        """KL(N(m, S) || p) with the moments of all rows; S may be singular, or was too wide to measure."""
        moments, prior = measured.all_rows, as_gaussian(self.prior)
        if prior is None or not moments.full or not np.all(moments.variance > 0):
            return None
        covariance = moments.covariance(shrinkage_of(self.encoding, rows, moments))
        if smallest_correlation_eigenvalue(covariance) < MIN_EIGENVALUE:
            return None
        return gaussian_kl(moments.mean, covariance, prior)


def as_gaussian(prior: Density | None) -> FullGaussian | DiagonalGaussian | None:
    """The prior where it is Gaussian: a mixture of one component is."""
    if isinstance(prior, GaussianMixture) and len(prior.weights) == 1:
        factor = prior.factors[0]
        if prior.full:
            return FullGaussian(prior.means[0], factor @ factor.T)
        return DiagonalGaussian(prior.means[0], factor**2)
    return prior if isinstance(prior, FullGaussian | DiagonalGaussian) else None


def average(parts: Sequence[Divergence], weights: Floats) -> Divergence:
    """sum_y w_y of each quantity, as for a conditional model; a quantity that one label lacks is not there.

    But for leave-one-out: where a label has none, 0 is the lower bound that it has. The error of a rate by draws is not
    that of the average, as labels share their noise: take the rate of all rows.
    """
    left_out = [part.information.leave_one_out for part in parts]
    bounds = [Estimate(0.0, 0.0) if bound is None else bound for bound in left_out]
    kls = [part.gaussian_kl for part in parts]
    known = [kl for kl in kls if kl is not None]
    return Divergence(
        rows=sum(part.rows for part in parts),
        rate=_average([part.rate for part in parts], weights),
        information=Information(
            index_code=_average([part.information.index_code for part in parts], weights),
            ceiling=float(weights @ [part.information.ceiling for part in parts]),
            leave_one_out=None if all(bound is None for bound in left_out) else _average(bounds, weights),
        ),
        gaussian_kl=float(weights @ known) if len(known) == len(kls) else None,
        marginals=weights @ np.stack([part.marginals for part in parts]),
    )


def _average(estimates: Sequence[Estimate | None], weights: Floats) -> Estimate | None:
    """The weighted sum of independent estimates."""
    known = [estimate for estimate in estimates if estimate is not None]
    if len(known) < len(estimates):
        return None
    errors = weights * [estimate.standard_error for estimate in known]
    return Estimate(float(weights @ [estimate.value for estimate in known]), sqrt(float(errors @ errors)))
