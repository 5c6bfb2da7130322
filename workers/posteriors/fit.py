"""Fits a family to an encoding: split, measure, learn, judge on held-out rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from latentmill.errors import DataError
from latentmill.specs import Family, FitRequest, Gaussian, Mixture
from workers.posteriors.density import Density
from workers.posteriors.encoding import Encoding
from workers.posteriors.families import learn
from workers.posteriors.findings import diagnostics_of
from workers.posteriors.gaussian import refuse_too_wide
from workers.posteriors.judging import doubts, judge
from workers.posteriors.labelled_fit import label_weights, learn_by_label
from workers.posteriors.learning import Material, Parameters, chooses, learning_rows
from workers.posteriors.measurement import Measurement, measure
from workers.posteriors.prior import is_standard_normal
from workers.posteriors.split import Split, split_rows

FULL_MEASURE_SIZE = 1024  # up to here covariances are measured for every family, for what a Gaussian would repair


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
    says that the model's decoder is told the label: then a fit by label is judged as f(z|y). One BLAS thread: a fit's
    bits must not depend on the number of cores, and threads that wait for each other spin.
    """
    with threadpool_limits(1):
        return _fit(encoding, request, prior, conditional=conditional, progress=progress, check=check)


def _fit(
    encoding: Encoding,
    request: FitRequest,
    prior: Density | None,
    *,
    conditional: bool,
    progress: Callable[[float], None],
    check: Callable[[], None],
) -> FittedPosterior:
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
    judgement = judge(material, learned.judged, prior, name=family.kind, conditional=conditional)
    progress(0.95)
    diagnostics = diagnostics_of(
        encoding,
        split,
        measured,
        judgement,
        prior,
        conditional=conditional,
        rows_used=learned.rows_used,
        shrinkage=learned.shrinkage,
        seed=request.seed,
        check=check,
    )
    diagnostics["labels"] = label_weights(encoding, learning_rows(family, split))
    progress(1.0)
    return FittedPosterior(learned.family, learned.parameters, diagnostics, learned.warnings + doubts(split, judgement))


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
