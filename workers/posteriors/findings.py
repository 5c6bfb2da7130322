"""What a fit tells of itself and of its encoding, as JSON, in nats."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.posteriors.density import Density
from workers.posteriors.encoding import Encoding
from workers.posteriors.gain import paired_gain, rate_by_draws
from workers.posteriors.gaussian import MIN_EIGENVALUE, gaussian_kl, smallest_correlation_eigenvalue
from workers.posteriors.measurement import Measurement
from workers.posteriors.prior import is_standard_normal
from workers.posteriors.shrinkage import shrinkage_of
from workers.posteriors.split import Split

MAX_RATE_ROWS = 50_000  # rows whose rate is estimated by draws; its error says what the others would add

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Judgement:
    """Held-out log densities (n,) of the fit and of what it is compared with, and the groups of those rows."""

    scores: Floats
    baseline_scores: Floats
    groups: NDArray[np.int64]
    unlabelled_scores: Floats | None = None  # of f(z) where `scores` are of f(z|y)

    def as_json(self) -> dict[str, Any]:
        """Both negative log densities, whose difference is the gain; and the gain of f(z|y) over f(z)."""
        told = {} if self.unlabelled_scores is None else {"label_information": self._over(self.unlabelled_scores)}
        return {
            "prior_holdout_nll": -float(self.baseline_scores.mean()),
            "holdout_nll": -float(self.scores.mean()),
            "gain": self._over(self.baseline_scores),
            **told,
        }

    def _over(self, scores: Floats) -> dict[str, float | None]:
        return paired_gain(self.scores, scores, self.groups).as_json()


def diagnostics_of(
    encoding: Encoding,
    split: Split,
    measured: Measurement,
    judgement: Judgement | None,
    prior: Density | None,
    *,
    rows_used: int,
    shrinkage: float,
    seed: int,
    check: Callable[[], None],
) -> dict[str, Any]:
    """The diagnostics of a fit; null where a quantity does not exist, as rates of an encoder without noise."""
    normal = is_standard_normal(prior)
    rate = _rate(encoding, split, measured, prior, seed=seed, check=check)
    held_out = {"prior_holdout_nll": None, "holdout_nll": None, "gain": None}
    return {
        "rows": encoding.rows,
        "rows_used": rows_used,
        "holdout_rows": len(split.holdout),
        "latent_size": encoding.latent_size,
        "active_units": measured.active_units,
        "informative_units": measured.informative_units,
        "inert_dimensions": measured.inert_dimensions().tolist() if normal else [],
        **rate,
        "gaussian_kl": _gaussian_kl(encoding, measured) if normal else None,
        **(held_out if judgement is None else judgement.as_json()),
        "gain_over": "prior" if prior is not None else "gaussian diagonal",
        "shrinkage": shrinkage,
        "per_dimension": _per_dimension(measured, normal),
    }


def _rate(
    encoding: Encoding,
    split: Split,
    measured: Measurement,
    prior: Density | None,
    *,
    seed: int,
    check: Callable[[], None],
) -> dict[str, Any]:
    """mean KL(q(z|x) || p): exact for N(0, I), by draws for other priors, null without noise or without a prior."""
    if prior is None or not measured.has_std:
        return {"mean_kl": None}
    if is_standard_normal(prior):
        return {"mean_kl": float(measured.rate.sum())}
    rows = np.concatenate([split.holdout, split.training])[:MAX_RATE_ROWS]
    found = rate_by_draws(encoding, rows, prior, split.groups[rows], seed=seed, check=check)
    return {"mean_kl": found.value, "mean_kl_standard_error": found.as_json()["standard_error"]}


def _gaussian_kl(encoding: Encoding, measured: Measurement) -> float | None:
    """KL(N(m, S) || N(0, I)) with the moments of all rows; null where S is singular or was too wide to measure."""
    moments = measured.all_rows
    if not moments.full or not np.all(moments.variance > 0):
        return None
    covariance = moments.covariance(shrinkage_of(encoding, np.arange(encoding.rows), moments))
    if smallest_correlation_eigenvalue(covariance) < MIN_EIGENVALUE:
        return None
    return gaussian_kl(moments.mean, covariance)


def _per_dimension(measured: Measurement, normal: bool) -> list[dict[str, float | None]]:
    moments = measured.all_rows
    columns = (moments.mean, moments.variance, moments.mean_variance, moments.std_mean_square, measured.rate)
    return [
        {
            "mean": mean,
            "variance": variance,
            "mean_variance": mean_variance,
            "std_mean_square": std_mean_square,
            "kl_to_prior": rate if normal and np.isfinite(rate) else None,
        }
        for mean, variance, mean_variance, std_mean_square, rate in zip(*(c.tolist() for c in columns), strict=True)
    ]
