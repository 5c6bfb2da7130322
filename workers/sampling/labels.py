"""Exact counts of labels, spread over the rows by a permutation that can be asked for one row."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import InvalidLabels, NotYet
from latentmill.specs import LabelCounts
from latentmill.specs.strategies import LabelChoice
from workers.randomness.permutation import permuted_position
from workers.randomness.streams import Stream

LABEL_SEED = 0  # the label of row i depends on the counts and on i alone, so that a new seed keeps it


def label_counts(choice: LabelChoice | None, classes: Sequence[str], rows: int) -> dict[str, int]:
    """Rows of each class, in the order of `classes`; balanced where nothing is chosen, the first taking more."""
    if isinstance(choice, LabelCounts):
        return checked_counts(choice.counts, classes, rows)
    if choice == "as_fitted":
        raise NotYet("Labels as fitted are part of the contract, but not of this release.", pointer="/strategy/labels")
    share, rest = divmod(rows, len(classes))
    return {name: share + (number < rest) for number, name in enumerate(classes)}


def checked_counts(counts: Mapping[str, int], classes: Sequence[str], rows: int) -> dict[str, int]:
    """`counts` in the order of `classes`, those left out as 0; refused where they do not add up to `rows`."""
    unknown = sorted(set(counts) - set(classes))
    if unknown:
        raise InvalidLabels(
            f"The model has no class {unknown[0]!r}; it has {', '.join(classes[:20])}.",
            pointer="/strategy/labels/counts",
        )
    total = sum(counts.values())
    if total != rows:
        raise InvalidLabels(
            f"The label counts add up to {total:,}, not to {rows:,}.", pointer="/strategy/labels/counts"
        )
    return {name: counts.get(name, 0) for name in classes}


class CountedLabels:
    """Row i has the class that holds position pi(i) in the cumulated counts; rows past the last begin again."""

    def __init__(self, counts: Sequence[int]) -> None:
        self.borders = np.cumsum(np.asarray(counts, dtype=np.int64))

    def of_rows(self, first_row: int, rows: int) -> NDArray[np.int64]:
        """Class numbers (rows,)."""
        total = int(self.borders[-1])
        positions = np.arange(first_row, first_row + rows, dtype=np.int64) % total
        places = permuted_position(LABEL_SEED, Stream.LABELS, total, positions)
        return np.searchsorted(self.borders, places, side="right").astype(np.int64)
