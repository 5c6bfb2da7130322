"""What is judged on held-out rows, and how."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from latentmill.specs import Family, Gaussian
from workers.posteriors.density import Density, Floats
from workers.posteriors.encoding import Encoding
from workers.posteriors.findings import Judgement
from workers.posteriors.gain import row_log_densities
from workers.posteriors.gaussian import DiagonalGaussian
from workers.posteriors.gaussian_fit import twin_of
from workers.posteriors.labelled import LabelledDensity
from workers.posteriors.learning import Material
from workers.posteriors.measurement import Measurement, measure
from workers.posteriors.split import Split
from workers.randomness.streams import Stream

FEW_HOLDOUT_ROWS = 100


def judged_density(
    encoding: Encoding, split: Split, family: Family, served: Density, *, check: Callable[[], None]
) -> Density:
    """The density whose held-out numbers stand for `served`: itself, but for moments of all rows, which saw them.

    `split` is that of the fit: of its seed and its holdout.
    """
    if not isinstance(family, Gaussian):
        return served
    training = replace(split, holdout=split.holdout[:0])
    if not isinstance(served, LabelledDensity):
        return _twin(encoding, training, family, check)
    if encoding.labels is None or encoding.classes is None:
        raise ValueError("a fit by label has been made from named labels")
    labels = np.asarray(encoding.labels)
    members = [training.where(labels == encoding.classes.index(name)) for name in served.classes]
    weights = np.array([len(part.training) for part in members], dtype=np.float64)
    return LabelledDensity(served.classes, weights, [_twin(encoding, part, family, check) for part in members])


def judge(material: Material, judged: Density, prior: Density | None, *, conditional: bool) -> Judgement | None:
    """Held-out log densities of the fit and of the baseline, on the same draws; None without held-out rows."""
    holdout = material.split.holdout
    if len(holdout) == 0:
        return None
    densities: list[Density] = [judged, prior if prior is not None else _stand_in(material.measured)]

    def scores_of(densities: list[Density], *, given_labels: bool) -> list[Floats]:
        return row_log_densities(
            densities, material.encoding, holdout,
            seed=material.seed, stream=Stream.HOLDOUT_DRAWS, check=material.check, given_labels=given_labels,
        )  # fmt: skip

    scores = scores_of(densities, given_labels=conditional)
    if conditional and isinstance(judged, LabelledDensity):
        scores += scores_of([judged], given_labels=False)
    scored = ~np.isnan(scores[0])
    scores = [of_rows[scored] for of_rows in scores]
    return Judgement(scores[0], scores[1], material.split.groups[holdout[scored]], *scores[2:])


def doubts(split: Split, judgement: Judgement | None) -> list[str]:
    """Why the held-out numbers say little."""
    rows, different = len(split.holdout), len(np.unique(split.groups[split.holdout]))
    if judgement is None:
        return ["No rows are held out: nothing says how the fit does on rows that it has not seen."]
    if rows < FEW_HOLDOUT_ROWS:
        return [f"Only {rows} rows are held out: the gain says little."]
    if different < FEW_HOLDOUT_ROWS:
        return [f"Only {different} of the {rows:,} held-out rows are different: the gain says little."]
    if len(judgement.scores) < rows:
        return [f"Judged on {len(judgement.scores):,} of the {rows:,} held-out rows: on all it would take too long."]
    return []


def _twin(encoding: Encoding, training: Split, family: Gaussian, check: Callable[[], None]) -> Density:
    measured = measure(encoding, training, full=family.covariance == "full", check=check)
    return twin_of(encoding, training, measured.training, family)


def _stand_in(measured: Measurement) -> Density:
    return DiagonalGaussian(measured.training.mean, measured.training.variance)
