"""N(m, S) of the training rows: what the moments alone gain on held-out rows, whatever the family of a fit."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import DataError
from latentmill.specs import Gaussian
from workers.posteriors.density import Density
from workers.posteriors.encoding import Encoding
from workers.posteriors.gaussian import FullGaussian
from workers.posteriors.gaussian_fit import twin_of
from workers.posteriors.labelled import LabelledDensity
from workers.posteriors.measurement import Measurement, measure
from workers.posteriors.moments import Moments
from workers.posteriors.split import Split

Rows = NDArray[np.int64]

FULL, DIAGONAL = "gaussian moments", "diagonal moments"
MAX_VALUES = 2**25  # of the covariances of all labels: 256 MiB


def gaussian_twin(
    encoding: Encoding, split: Split, measured: Measurement, *, conditional: bool, check: Callable[[], None]
) -> tuple[str, Density] | None:
    """Its name and N(m, S), or N(m, diag S) where S is singular or was too wide to measure; None where neither exists.

    For a conditional model one per label, to be scored given the label; labels without training rows have that of all.
    """
    pooled = _gaussian(encoding, split, measured.training)
    if pooled is None:
        return None
    members = members_of(encoding, split) if conditional else None
    if members is None:
        return (FULL if isinstance(pooled, FullGaussian) else DIAGONAL), pooled
    full = measured.training.full and len(members) * encoding.latent_size**2 <= MAX_VALUES
    names = sorted(members)
    parts = [_of_label(encoding, members[name], pooled, full, check) for name in names]
    weights = np.array([len(members[name].training) + len(members[name].holdout) for name in names], dtype=np.float64)
    name = FULL if all(isinstance(part, FullGaussian) for part in parts) else DIAGONAL
    return name, LabelledDensity(names, weights, parts)


def members_of(encoding: Encoding, split: Split) -> dict[str, Split] | None:
    """The split of the rows of each label that is there, by the label's text; None without labels."""
    if encoding.labels is None or encoding.classes is None:
        return None
    labels, count = np.asarray(encoding.labels), len(encoding.classes)
    parts = [_by_label(rows, labels, count) for rows in (split.fit, split.tune, split.holdout)]
    members = {
        name: Split(fit=fit, tune=tune, holdout=holdout, groups=split.groups)
        for name, fit, tune, holdout in zip(encoding.classes, *parts, strict=True)
    }
    return {name: member for name, member in members.items() if len(member.training) + len(member.holdout)}


def _by_label(rows: Rows, labels: NDArray[np.int32], count: int) -> list[Rows]:
    """`rows` of each label number, in their order: one sort, however many labels there are."""
    order = np.argsort(labels[rows], kind="stable")
    return np.split(rows[order], np.searchsorted(labels[rows[order]], np.arange(1, count)))


def label_texts(encoding: Encoding, rows: Rows) -> NDArray[np.str_] | None:
    """The labels of `rows`, (n,), by their text; None without labels."""
    if encoding.labels is None or encoding.classes is None:
        return None
    texts: NDArray[np.str_] = np.array(encoding.classes, dtype=np.str_)[np.asarray(encoding.labels[rows])]
    return texts


def _of_label(encoding: Encoding, member: Split, pooled: Density, full: bool, check: Callable[[], None]) -> Density:
    if len(member.training) == 0:
        return pooled
    training = replace(member, holdout=member.holdout[:0])
    moments = measure(encoding, training, full=full, check=check).training
    found = _gaussian(encoding, member, moments)
    return pooled if found is None else found


def _gaussian(encoding: Encoding, split: Split, moments: Moments) -> Density | None:
    for covariance in ("full", "diagonal") if moments.full else ("diagonal",):
        try:
            return twin_of(encoding, split, moments, Gaussian(covariance=covariance))
        except DataError:  # singular
            continue
    return None
