"""The labels of a job's rows: exact counts, spread over the rows by a permutation that can be asked for one row."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import InvalidLabels
from latentmill.specs import Aggregate, LabelCounts, Prior, Strategy, VaeManifest
from latentmill.specs.labels import POINTER, label_counts
from workers.posteriors.density import Density
from workers.posteriors.encoding import Encoding
from workers.posteriors.labelled import LabelledDensity
from workers.randomness.permutation import permuted_position
from workers.randomness.streams import Stream

LABEL_SEED = 0  # the label of row i depends on the counts and on i alone, so that a new seed keeps it

Numbers = NDArray[np.int64]


class CountedLabels:
    """Row i has the class that holds position pi(i) in the cumulated counts; rows past the last begin again."""

    def __init__(self, counts: Sequence[int]) -> None:
        self.borders = np.cumsum(np.asarray(counts, dtype=np.int64))

    def of_rows(self, first_row: int, rows: int) -> Numbers:
        """Class numbers (rows,)."""
        total = int(self.borders[-1])
        positions = np.arange(first_row, first_row + rows, dtype=np.int64) % total
        places = permuted_position(LABEL_SEED, Stream.LABELS, total, positions)
        return np.searchsorted(self.borders, places, side="right").astype(np.int64)


def classes_of(manifest: VaeManifest, density: Density | None) -> tuple[str, ...] | None:
    """The classes that labels are numbers into: the model's, else those of a fit by label; None without labels."""
    if manifest.labels is not None:
        return manifest.labels.classes
    return density.classes if isinstance(density, LabelledDensity) else None


def counts_of(
    strategy: Strategy,
    rows: int,
    classes: Sequence[str] | None,
    *,
    density: Density | None,
    encoding: Encoding | None,
    counts: Mapping[str, int] | None,
) -> dict[str, int] | None:
    """Rows of each class, in their order; None without labels, and where rows keep those that they are drawn around.

    `counts` are those of a job, resolved before. Otherwise the strategy's labels say; a density by label goes by its
    own weights unless told otherwise.
    """
    choice = strategy.labels
    if classes is None:
        if choice is not None or counts is not None:
            raise InvalidLabels(
                "The model is not conditional and no fit by label is drawn from: there are no labels.", pointer=POINTER
            )
        return None
    if counts is not None:
        return label_counts(LabelCounts(counts=dict(counts)), classes, rows)
    if isinstance(density, LabelledDensity):
        weights = dict(zip(density.classes, density.weights.tolist(), strict=True))
        return label_counts(choice or "as_fitted", classes, rows, proportions=weights)
    if isinstance(strategy, Prior | Aggregate):
        return label_counts(choice, classes, rows)
    if choice is None:
        return None
    return label_counts(choice, classes, rows, proportions=None if encoding is None else _frequencies(encoding))


def parts_of(density: LabelledDensity, classes: Sequence[str], counts: Mapping[str, int]) -> Numbers:
    """For each of `classes` its number in the density; -1 for one that it lacks, of which no row may be asked."""
    numbers = {name: number for number, name in enumerate(density.classes)}
    if lacking := [name for name in classes if counts[name] and name not in numbers]:
        raise InvalidLabels(
            f"The fit has no density for the label {lacking[0]!r}; ask for none of its rows.", pointer=POINTER
        )
    return np.array([numbers.get(name, -1) for name in classes], dtype=np.int64)


def own_classes(encoding: Encoding, selected: Numbers | None, classes: Sequence[str]) -> Numbers:
    """The model's class number for each class number of the encoding; classes are matched by their text."""
    if encoding.labels is None:
        raise InvalidLabels("The model is conditional and the dataset has no labels.", pointer="/strategy/dataset")
    own = classes if encoding.classes is None else encoding.classes
    numbers = {name: number for number, name in enumerate(classes)}
    table = np.array([numbers.get(name, -1) for name in own], dtype=np.int64)
    used = np.unique(np.asarray(encoding.labels if selected is None else encoding.labels[selected]))
    missing = [own[number] for number in used if table[number] < 0]
    if missing:
        raise InvalidLabels(f"The model has no class {missing[0]!r}.", pointer="/strategy/dataset")
    return table


def _frequencies(encoding: Encoding) -> dict[str, float] | None:
    """How many rows of the encoding each class has."""
    if encoding.labels is None or encoding.classes is None:
        return None
    counts = np.bincount(np.asarray(encoding.labels), minlength=len(encoding.classes))
    return dict(zip(encoding.classes, counts.tolist(), strict=True))
