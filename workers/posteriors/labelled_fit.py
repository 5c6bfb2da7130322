"""Fits one density per label, each to the rows of its label."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import DataError, InvalidLabels, LatentmillError, LimitExceeded
from latentmill.specs import Family, Gaussian, Mixture
from workers.posteriors.empirical_fit import MAX_VALUES
from workers.posteriors.encoding import Encoding
from workers.posteriors.families import learn
from workers.posteriors.labelled import LabelledDensity, labelled_parameters
from workers.posteriors.learning import Learned, Material, Progress, chooses, learning_rows
from workers.posteriors.measurement import measure

MIN_FULL_ROWS = 50  # for a full covariance of one label, or twice its dimensions
SHOWN_WARNINGS = 10
OPEN = "auto"

Rows = NDArray[np.int64]


def label_weights(encoding: Encoding, rows: Rows) -> dict[str, float] | None:
    """How frequent each class is among `rows`; None for an encoding without labels."""
    if encoding.labels is None:
        return None
    labels = np.asarray(encoding.labels)
    names = encoding.classes or [str(number) for number in range(int(labels.max()) + 1)]
    counts = np.bincount(labels[rows], minlength=len(names))
    return dict(zip(names, (counts / len(rows)).tolist(), strict=True))


def learn_by_label(family: Family, material: Material, progress: Progress) -> Learned:
    """`family` for the rows of each label. Weights are frequencies in the rows that are learned from."""
    labels, classes = _named_labels(material.encoding)
    present = [(number, classes[number]) for number in np.unique(labels)]
    parts: dict[str, Learned] = {}
    for done, (number, name) in enumerate(present):
        mine = replace(material, split=material.split.where(labels == number))
        parts[name] = _learn_label(family, mine, name)
        progress((done + 1) / len(present))
        refuse_too_many_values(parts)
    names = sorted(parts)
    served, judged = (
        label_weights(material.encoding, learning_rows(family, split)) or {}
        for split in (material.split, replace(material.split, holdout=material.split.holdout[:0]))
    )
    return Learned(
        family=_resolved(family, [part.family for part in parts.values()]),
        parameters=labelled_parameters(
            {name: served[name] for name in names}, {name: part.parameters for name, part in parts.items()}
        ),
        judged=LabelledDensity(
            names, np.array([judged[name] for name in names]), [parts[name].judged for name in names]
        ),
        rows_used=sum(part.rows_used for part in parts.values()),
        shrinkage=max(part.shrinkage for part in parts.values()),
        warnings=_warnings(parts),
    )


def _learn_label(family: Family, material: Material, name: str) -> Learned:
    """`family` for the rows of one label; refusals name it."""
    refuse_few_rows(family, material, name)
    encoding, split = material.encoding, material.split
    full = isinstance(family, Gaussian) and family.covariance == "full"
    measured = measure(encoding, split, full=full, check=material.check)
    try:
        return learn(family, replace(material, measured=measured), lambda _: None)
    except LatentmillError as error:
        errors = [field.model_copy(update={"message": f"Label {name!r}: {field.message}"}) for field in error.errors]
        raise type(error)(f"Label {name!r}: {error.detail}", errors=errors) from error


def refuse_few_rows(family: Family, material: Material, name: str) -> None:
    """A label needs rows to learn from, and some more for a full covariance."""
    rows = len(learning_rows(family, replace(material.split, holdout=material.split.holdout[:0])))
    if rows == 0 or (chooses(family) and len(material.split.tune) == 0):
        raise DataError(
            f"The label {name!r} has {rows} rows to learn from, and {len(material.split.tune)} to choose by: too few "
            'for a density of its own. Leave its rows out of the dataset, or take "by_label": false.',
            pointer="/by_label",
        )
    needed = max(MIN_FULL_ROWS, 2 * len(material.active))
    if isinstance(family, Gaussian | Mixture) and family.covariance == "full" and rows < needed:
        raise DataError(
            f"The label {name!r} has {rows} rows to learn from, and a full covariance of {len(material.active)} "
            f'dimensions needs {needed}; take the family with "covariance": "diagonal".',
            pointer="/family/covariance",
        )


def _resolved(family: Family, of_labels: list[Family]) -> Family:
    """`family` with the largest number that any label was given of what was left open."""
    largest: dict[str, int] = {}
    for name in ("components", "epochs"):
        found = [value for part in of_labels if isinstance(value := getattr(part, name, None), int)]
        if found and getattr(family, name) == OPEN:
            largest[name] = max(found)
    return family.model_copy(update=largest)


def refuse_too_many_values(parts: Mapping[str, Learned]) -> None:
    """All parts are held in memory by whoever draws from them."""
    values = sum(array.size for part in parts.values() for array in part.parameters.values())
    if values > MAX_VALUES:
        raise LimitExceeded(
            f"The densities of {len(parts)} labels have more than the {MAX_VALUES:,} numbers that a fit may have; take "
            'fewer components, "covariance": "diagonal", or "by_label": false.',
            pointer="/by_label",
        )


def _named_labels(encoding: Encoding) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    if encoding.labels is None or encoding.classes is None:
        raise InvalidLabels(
            'A fit by label needs a dataset with labels; add them to the dataset, or take "by_label": false.',
            pointer="/by_label",
        )
    return np.asarray(encoding.labels), encoding.classes


def _warnings(parts: Mapping[str, Learned]) -> list[str]:
    told = [f"Label {name!r}: {warning}" for name, part in parts.items() for warning in part.warnings]
    more = [f"{len(told) - SHOWN_WARNINGS} more labels or warnings like these."] if len(told) > SHOWN_WARNINGS else []
    return told[:SHOWN_WARNINGS] + more
