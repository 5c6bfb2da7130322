"""Which rows a fit learns from, which it chooses by, and which judge it."""

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np
from numpy.typing import NDArray

from workers.posteriors.encoding import DIGEST_BYTES

TUNE_SHARE = 0.1

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of each part, in the order of their hash; `groups` (N,) numbers the rows that are identical."""

    fit: Rows
    tune: Rows
    holdout: Rows
    groups: NDArray[np.int64]

    @property
    def training(self) -> Rows:
        """Fit and tune rows, in the order of their hash: for families that choose nothing."""
        return np.concatenate([self.tune, self.fit])

    def where(self, wanted: NDArray[np.bool_]) -> "Split":
        """The same split of the `wanted` (N,) rows alone."""
        fit, tune, holdout = (rows[wanted[rows]] for rows in (self.fit, self.tune, self.holdout))
        return Split(fit=fit, tune=tune, holdout=holdout, groups=self.groups)


def split_rows(digests: NDArray[np.uint8], labels: NDArray[np.int32] | None, *, seed: int, holdout: float) -> Split:
    """Order the groups of identical rows (digest and label) by sha256(seed, digest); cut off holdout, then tune.

    Holdout gets the first ceil(holdout * N) rows, tune the next ceil(0.1 * rest). A group that a border would split
    belongs whole to the part in which it begins. With labels each part has its share of every label: see `_spread`.
    """
    groups, first_rows, sizes = _groups(digests, labels)
    hashes = _hashes(digests[first_rows], seed)
    if labels is None:
        ranked = np.lexsort((np.arange(len(sizes)), hashes))
    else:
        ranked = np.lexsort(
            (np.arange(len(sizes)), hashes, _spread(np.asarray(labels)[first_rows], hashes, sizes, seed))
        )
    ends = np.cumsum(sizes[ranked])
    total = int(ends[-1])
    cut_holdout, holdout_rows = _cut(ends, 0, rows_of_share(holdout, total))
    cut_tune, _ = _cut(ends, cut_holdout, holdout_rows + rows_of_share(TUNE_SHARE, total - holdout_rows))
    rank = np.empty(len(sizes), dtype=np.int64)
    rank[ranked] = np.arange(len(sizes))
    order = np.argsort(rank[groups], kind="stable")
    of_row = rank[groups[order]]
    first, second = np.searchsorted(of_row, [cut_holdout, cut_tune])
    return Split(fit=order[second:], tune=order[first:second], holdout=order[:first], groups=groups)


def _spread(labels: NDArray[np.int32], hashes: NDArray[np.uint64], sizes: Rows, seed: int) -> NDArray[np.float64]:
    """Where each group lies among those of its label, in (0, 1): (rows before it + u * its rows) / rows of the label.

    Groups of a label come in the order of their hashes, and u is the label's own: so a rare label is held out as often
    as a frequent one, though not in every split.
    """
    order = np.lexsort((np.arange(len(sizes)), hashes, labels))
    numbers, first, place = np.unique(labels[order], return_index=True, return_inverse=True)
    ends = np.cumsum(sizes[order])
    before = ends - sizes[order]
    start = before[first]
    total = np.append(start[1:], ends[-1]) - start
    offsets = np.array([_offset(seed, int(number)) for number in numbers])
    within = np.empty(len(sizes))
    within[order] = (before - start[place] + offsets[place] * sizes[order]) / total[place]
    return within


def _offset(seed: int, label: int) -> float:
    """A number in [0, 1) that seed and label decide."""
    hashed = hashlib.sha256(seed.to_bytes(8, "little") + b"label" + label.to_bytes(8, "little", signed=True))
    return int.from_bytes(hashed.digest()[:8], "big") / 2**64


def rows_of_share(share: float, rows: int) -> int:
    """ceil(share * rows), with the share as it is written: 0.07 of 100 rows are 7, though 0.07 * 100 is above 7."""
    return ceil(Fraction(str(share)) * rows)


def _groups(digests: NDArray[np.uint8], labels: NDArray[np.int32] | None) -> tuple[Rows, Rows, Rows]:
    """The group of each row, and the first row and the size of each group."""
    words = np.ascontiguousarray(digests).view(np.dtype(">u8")).astype(np.uint64)
    label = np.zeros(len(words), dtype=np.int32) if labels is None else np.asarray(labels)
    order = np.lexsort((label, words[:, 1], words[:, 0]))
    new = np.zeros(len(order), dtype=bool)
    new[0] = True
    for key in (label, words[:, 1], words[:, 0]):
        ordered = np.asarray(key)[order]
        new[1:] |= ordered[1:] != ordered[:-1]
    groups = np.empty(len(order), dtype=np.int64)
    groups[order] = np.cumsum(new) - 1
    starts = np.flatnonzero(new)
    return groups, order[starts], np.diff(np.append(starts, len(order)))


def _hashes(digests: NDArray[np.uint8], seed: int) -> NDArray[np.uint64]:
    """The first 8 bytes of sha256(seed, digest): its order, up to a chance of one in 2^64 per pair."""
    seeded = hashlib.sha256(seed.to_bytes(8, "little"))
    text = np.ascontiguousarray(digests).tobytes()

    def leading(start: int) -> int:
        hashed = seeded.copy()
        hashed.update(text[start : start + DIGEST_BYTES])
        return int.from_bytes(hashed.digest()[:8], "big")

    return np.fromiter(map(leading, range(0, len(text), DIGEST_BYTES)), dtype=np.uint64, count=len(digests))


def _cut(ends: Rows, first_group: int, rows: int) -> tuple[int, int]:
    """How many groups reach `rows` rows, and how many rows they have; `ends` are cumulated sizes."""
    groups = max(first_group, int(np.searchsorted(ends, rows, side="left")) + 1) if rows > 0 else first_group
    groups = min(groups, len(ends))
    return groups, int(ends[groups - 1]) if groups else 0
