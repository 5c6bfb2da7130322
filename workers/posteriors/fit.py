"""Fits a family to an encoding: split, measure, learn, judge on held-out rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentmill.errors import DataError
from latentmill.specs import Family, FitRequest, Gaussian, Mixture
from workers.posteriors.density import Density, Floats
from workers.posteriors.encoding import Encoding
from workers.posteriors.families import learn
from workers.posteriors.findings import Judgement, diagnostics_of
from workers.posteriors.gain import row_log_densities
from workers.posteriors.gaussian import DiagonalGaussian, refuse_too_wide
from workers.posteriors.labelled import LabelledDensity
from workers.posteriors.labelled_fit import label_weights, learn_by_label
from workers.posteriors.learning import Material, Parameters, chooses, learning_rows
from workers.posteriors.measurement import Measurement, measure
from workers.posteriors.prior import is_standard_normal
from workers.posteriors.split import Split, split_rows
from workers.randomness.streams import Stream

FULL_MEASURE_SIZE = 1024  # up to here covariances are measured for every family, for what a Gaussian would repair
FEW_HOLDOUT_ROWS = 100


@dataclass(frozen=True, eq=False)
class FittedPosterior:
    """A family with nothing left open, its parameters, and what was measured on the way."""

    family: Family
    parameters: Parameters
    diagnostics: dict[str, Any]
    warnings: list[str]


def fit_posterior(
    encoding: Encoding,
    request: FitRequest,
    prior: Density | None,
    *,
    conditional: bool = False,
    progress: Callable[[float], None],
    check: Callable[[], None],
) -> FittedPosterior:
    """Fit `request.family` to `encoding`; `check` is called often and raises to stop.

    Without a prior the diagonal Gaussian of the training rows takes its place where gains are measured. `conditional`
    says that the model's decoder is told the label: then a fit by label is judged as f(z|y).
    """
    family = request.family
    if isinstance(family, Gaussian | Mixture) and family.covariance == "full":
        refuse_too_wide(encoding.latent_size)
    split = _split(encoding, request)
    full = encoding.latent_size <= FULL_MEASURE_SIZE or (isinstance(family, Gaussian) and family.covariance == "full")
    measured = measure(encoding, split, full=full, check=check)
    progress(0.1)
    material = Material(encoding, split, measured, _active(encoding, measured, prior), request.seed, check)
    learner = learn_by_label if request.by_label else learn
    learned = learner(family, material, lambda done: progress(0.1 + 0.7 * done))
    progress(0.8)
    judgement = _judge(material, learned.judged, prior, conditional)
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
    diagnostics["labels"] = label_weights(encoding, learning_rows(family, split))
    progress(1.0)
    return FittedPosterior(learned.family, learned.parameters, diagnostics, learned.warnings + _doubts(split))


def _split(encoding: Encoding, request: FitRequest) -> Split:
    split = split_rows(encoding.row_digests, encoding.labels, seed=request.seed, holdout=request.holdout)
    if len(split.training) == 0 or (chooses(request.family) and (len(split.fit) == 0 or len(split.tune) == 0)):
        raise DataError(
            f"Only {int(split.groups.max()) + 1} of the {encoding.rows:,} rows are different: too few to fit some and "
            f"hold others out (holdout {request.holdout:g}).",
            pointer="/holdout",
        )
    return split


def _active(encoding: Encoding, measured: Measurement, prior: Density | None) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The dimensions that cannot be left to the prior."""
    inert = measured.inert_dimensions() if is_standard_normal(prior) else np.empty(0, dtype=np.int64)
    return np.setdiff1d(np.arange(encoding.latent_size), inert)


def _judge(material: Material, judged: Density, prior: Density | None, conditional: bool) -> Judgement | None:
    """Held-out log densities of the fit and of the baseline, on the same draws."""
    holdout = material.split.holdout
    if len(holdout) == 0:
        return None
    densities: list[Density] = [judged, prior if prior is not None else _stand_in(material.measured)]

    def scores_of(densities: list[Density], *, given_labels: bool) -> list[Floats]:
        return row_log_densities(
            densities, material.encoding, holdout,
            seed=material.seed, stream=Stream.HOLDOUT_DRAWS, check=material.check, given_labels=given_labels,
        )  # fmt: skip

    scores, baseline_scores = scores_of(densities, given_labels=conditional)
    unlabelled = None
    if conditional and isinstance(judged, LabelledDensity):
        unlabelled = scores_of([judged], given_labels=False)[0]
    return Judgement(scores, baseline_scores, material.split.groups[holdout], unlabelled)


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
