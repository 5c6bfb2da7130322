"""Fits a family to an encoding: split, measure, learn, judge on held-out rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import DataError, NotYet
from latentmill.specs import Family, FitRequest, Gaussian, Mixture
from workers.posteriors.density import Density
from workers.posteriors.encoding import Encoding
from workers.posteriors.findings import Judgement, diagnostics_of
from workers.posteriors.gain import row_log_densities
from workers.posteriors.gaussian import (
    DiagonalGaussian,
    gaussian_density,
    gaussian_parameters,
    refuse_too_wide,
)
from workers.posteriors.measurement import Measurement, measure
from workers.posteriors.mixture import mixture_density
from workers.posteriors.mixture_fit import fit_mixture
from workers.posteriors.prior import is_standard_normal
from workers.posteriors.shrinkage import shrinkage_of
from workers.posteriors.split import Split, split_rows
from workers.randomness.streams import Stream

FULL_MEASURE_SIZE = 1024  # up to here covariances are measured for every family, for what a Gaussian would repair
FEW_HOLDOUT_ROWS = 100

Parameters = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class FittedPosterior:
    """A family with nothing left open, its parameters (float64), and what was measured on the way."""

    family: Family
    parameters: Parameters
    diagnostics: dict[str, Any]
    warnings: list[str]


@dataclass(frozen=True, eq=False)
class _Learned:
    """What is served and what is judged: the same, but for families that serve the moments of all rows."""

    family: Family
    parameters: Parameters
    judged: Density | None
    rows_used: int
    shrinkage: float
    warnings: list[str]


def density_of(family: Family, parameters: Mapping[str, NDArray[np.floating]]) -> Density:
    """The density of a fit."""
    exact = {name: np.asarray(array, dtype=np.float64) for name, array in parameters.items()}
    if isinstance(family, Gaussian):
        return gaussian_density(exact)
    if isinstance(family, Mixture):
        return mixture_density(exact)
    raise NotYet(f"Fits of the family {family.kind} are part of the contract, but not of this release.")


def fit_posterior(
    encoding: Encoding,
    request: FitRequest,
    prior: Density | None,
    *,
    progress: Callable[[float], None],
    check: Callable[[], None],
) -> FittedPosterior:
    """Fit `request.family` to `encoding`; `check` is called often and raises to stop.

    Without a prior the diagonal Gaussian of the training rows takes its place where gains are measured.
    """
    family = request.family
    if request.by_label:
        raise NotYet("by_label fits are part of the contract, but not of this release.", pointer="/by_label")
    if not isinstance(family, Gaussian | Mixture):
        raise NotYet(f"The family {family.kind} is part of the contract, but not of this release.", pointer="/family")
    if family.covariance == "full":
        refuse_too_wide(encoding.latent_size)
    split = _split(encoding, request)
    full = encoding.latent_size <= FULL_MEASURE_SIZE or (isinstance(family, Gaussian) and family.covariance == "full")
    measured = measure(encoding, split, full=full, check=check)
    progress(0.1)
    if isinstance(family, Gaussian):
        learned = _learn_gaussian(encoding, split, measured, family)
    else:
        learned = _learn_mixture(
            encoding, split, measured, family, prior, request.seed, lambda done: progress(0.1 + 0.7 * done), check
        )
    progress(0.8)
    judgement = _judge(encoding, split, measured, learned.judged, prior, request.seed, check)
    progress(0.95)
    diagnostics = diagnostics_of(
        encoding,
        split,
        measured,
        judgement,
        prior,
        rows_used=learned.rows_used,
        shrinkage=learned.shrinkage,
        seed=request.seed,
        check=check,
    )
    progress(1.0)
    return FittedPosterior(learned.family, learned.parameters, diagnostics, learned.warnings + _doubts(split))


def _split(encoding: Encoding, request: FitRequest) -> Split:
    split = split_rows(encoding.row_digests, encoding.labels, seed=request.seed, holdout=request.holdout)
    chooses = isinstance(request.family, Mixture) and request.family.components == "auto"
    if len(split.training) == 0 or (chooses and (len(split.fit) == 0 or len(split.tune) == 0)):
        raise DataError(
            f"Only {int(split.groups.max()) + 1} of the {encoding.rows:,} rows are different: too few to fit some and "
            f"hold others out (holdout {request.holdout:g}).",
            pointer="/holdout",
        )
    return split


def _learn_gaussian(encoding: Encoding, split: Split, measured: Measurement, family: Gaussian) -> _Learned:
    """Serves the moments of all rows; its twin without the held-out rows is judged."""
    held_out = np.zeros(encoding.rows, dtype=bool)
    held_out[split.holdout] = True
    full = family.covariance == "full"
    moments = measured.all_rows
    shrinkage = shrinkage_of(encoding, None, moments) if full else 0.0
    served = gaussian_parameters(moments, family.covariance, shrinkage)
    judged = None
    if len(split.holdout):
        twin_shrinkage = shrinkage_of(encoding, ~held_out, measured.training) if full else 0.0
        judged = gaussian_density(gaussian_parameters(measured.training, family.covariance, twin_shrinkage))
    return _Learned(family, served, judged, encoding.rows, shrinkage, [])


def _learn_mixture(
    encoding: Encoding,
    split: Split,
    measured: Measurement,
    family: Mixture,
    prior: Density | None,
    seed: int,
    progress: Callable[[float], None],
    check: Callable[[], None],
) -> _Learned:
    """Serves what is judged."""
    inert = measured.inert_dimensions() if is_standard_normal(prior) else np.empty(0, dtype=np.int64)
    active = np.setdiff1d(np.arange(encoding.latent_size), inert)
    fitted = fit_mixture(encoding, split, family, active, seed=seed, progress=progress, check=check)
    judged = mixture_density(fitted.parameters) if len(split.holdout) else None
    return _Learned(fitted.family, fitted.parameters, judged, fitted.rows_used, 0.0, fitted.warnings)


def _judge(
    encoding: Encoding,
    split: Split,
    measured: Measurement,
    judged: Density | None,
    prior: Density | None,
    seed: int,
    check: Callable[[], None],
) -> Judgement | None:
    """Held-out log densities of the fit and of the baseline, on the same draws."""
    if judged is None:
        return None
    baseline: Density = prior if prior is not None else _stand_in(measured)
    scores, baseline_scores = row_log_densities(
        [judged, baseline], encoding, split.holdout, seed=seed, stream=Stream.HOLDOUT_DRAWS, check=check
    )
    return Judgement(scores, baseline_scores, split.groups[split.holdout])


def _stand_in(measured: Measurement) -> Density:
    return DiagonalGaussian(measured.training.mean, measured.training.variance)


def _doubts(split: Split) -> list[str]:
    rows, different = len(split.holdout), len(np.unique(split.groups[split.holdout]))
    if rows == 0:
        return ["No rows are held out: nothing says how the fit does on rows that it has not seen."]
    if rows < FEW_HOLDOUT_ROWS:
        return [f"Only {rows} rows are held out: the gain says little."]
    if different < FEW_HOLDOUT_ROWS:
        return [f"Only {different} of the {rows:,} held-out rows are different: the gain says little."]
    return []
