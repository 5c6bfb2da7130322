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
from workers.posteriors.marginal_kl import HeldOut
from workers.posteriors.measurement import Measurement, measure
from workers.posteriors.split import Split
from workers.posteriors.twin import gaussian_twin, label_texts
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


def judge(
    material: Material, judged: Density, prior: Density | None, *, name: str, conditional: bool
) -> Judgement | None:
    """Held-out log densities of the fit, called `name`, of the baseline and of the moments alone, on the same draws.

    None without held-out rows.
    """
    holdout = material.split.holdout
    if len(holdout) == 0:
        return None
    encoding, check = material.encoding, material.check
    twin = gaussian_twin(encoding, material.split, material.measured, conditional=conditional, check=check)
    densities: list[Density] = [judged, prior if prior is not None else _stand_in(material.measured)]
    densities += [] if twin is None else [twin[1]]

    def scores_of(densities: list[Density], *, given_labels: bool) -> list[Floats]:
        return row_log_densities(
            densities, encoding, holdout,
            seed=material.seed, stream=Stream.HOLDOUT_DRAWS, check=check, given_labels=given_labels,
        )  # fmt: skip

    own, baseline, *moments = scores_of(densities, given_labels=conditional)
    groups = material.split.groups[holdout]
    named = {} if twin is None else {twin[0]: moments[0]}
    held_out = HeldOut({**named, name: own}, baseline, groups, label_texts(encoding, holdout))
    unlabelled = None
    scored = ~np.isnan(own)
    if conditional and isinstance(judged, LabelledDensity):
        unlabelled = scores_of([judged], given_labels=False)[0][scored]
    return Judgement(own[scored], baseline[scored], groups[scored], held_out, unlabelled)


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
