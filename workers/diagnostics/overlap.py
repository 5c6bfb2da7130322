"""Do the windows of a series overlap? Then a row that is held out shares steps with rows that were learned from."""

import numpy as np
from numpy.typing import NDArray

from latentmill.specs import Rows, SeriesRows
from workers.rows import DatasetRows

PAIRS = 200
PAIRED_VALUES = 2**23  # of all pairs that are looked at
PLACES = 64  # in one row at which the next may begin
LEAST_SHARED = 2  # steps: one alone is no window's beginning


def overlap_warnings(rows: DatasetRows, spec: Rows) -> list[str]:
    """What a fit to `rows` (N, ...) should say of it; nothing where the rows are no series, or do not overlap."""
    shared = shared_steps(rows, spec) if isinstance(spec, SeriesRows) else 0
    if shared == 0 or not isinstance(spec, SeriesRows):
        return []
    return [
        f"Rows overlap: most begin with the last {shared:,} of the {spec.steps:,} steps of the row before. Rows that "
        "are held out then share steps with rows that are learned from, and gains look larger than they are. Upload "
        f"windows that do not overlap (stride={spec.steps}), or give a report a reference from another stretch of time."
    ]


def shared_steps(rows: DatasetRows, spec: SeriesRows) -> int:
    """Steps that most rows have in common with the row before, as windows of a stride below their length do; or 0.

    Looks at neighbours spread evenly over the dataset: windows that were shuffled before are not recognised.
    """
    count = min(PAIRS, len(rows) - 1, max(1, PAIRED_VALUES // (2 * spec.steps * len(spec.features))))
    if count < 1:
        return 0
    found: dict[int, int] = {}
    for first in np.unique(np.linspace(0, len(rows) - 2, count).astype(np.int64)):
        before, after = np.asarray(rows[first : first + 2]).reshape(2, spec.steps, len(spec.features))
        steps = _shared(before, after)
        found[steps] = found.get(steps, 0) + 1
    steps, pairs = max(found.items(), key=lambda item: item[1])
    return steps if 2 * pairs > sum(found.values()) else 0


def _shared(before: NDArray[np.generic], after: NDArray[np.generic]) -> int:
    """The longest end of `before` (steps, features) with which `after` begins, unless nothing changes in it."""
    for place in 1 + np.flatnonzero((before[1:] == after[0]).all(axis=1))[:PLACES]:
        end = before[place:]
        if len(end) >= LEAST_SHARED and np.array_equal(end, after[: len(end)]) and bool((end != end[0]).any()):
            return len(end)
    return 0
