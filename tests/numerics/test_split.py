"""The split: identical rows stay together, sizes are as stated, content and seed decide, never the position."""

import hashlib
from math import ceil

import numpy as np
import pytest

from workers.posteriors.split import split_rows


def digests(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 16)).astype(np.uint8)


def contents(digest_rows: np.ndarray) -> list[bytes]:
    return [row.tobytes() for row in digest_rows]


@pytest.mark.parametrize(("rows", "holdout"), [(1_000, 0.1), (1_797, 0.1), (997, 0.25), (10, 0.5), (1_000, 0.0)])
def test_sizes_without_duplicates(rows: int, holdout: float) -> None:
    split = split_rows(digests(rows), None, seed=0, holdout=holdout)
    held = ceil(holdout * rows)
    assert len(split.holdout) == held
    assert len(split.tune) == ceil(0.1 * (rows - held))
    assert sorted([*split.holdout, *split.tune, *split.fit]) == list(range(rows))
    assert set(split.training) == {*split.tune, *split.fit}
    assert len(np.unique(split.groups)) == rows


def test_the_order_is_that_of_sha256_of_seed_and_digest() -> None:
    made = digests(500)
    split = split_rows(made, None, seed=9, holdout=0.1)
    expected = sorted(
        range(500), key=lambda row: hashlib.sha256((9).to_bytes(8, "little") + made[row].tobytes()).digest()
    )
    assert [*split.holdout, *split.tune, *split.fit] == expected


def test_identical_rows_share_a_part() -> None:
    distinct = digests(300)
    made = distinct[np.random.default_rng(1).integers(0, 300, 2_000)]
    split = split_rows(made, None, seed=3, holdout=0.2)
    parts = [set(contents(made[rows])) for rows in (split.holdout, split.tune, split.fit)]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]
    largest = np.bincount(split.groups).max()
    assert ceil(0.2 * 2_000) <= len(split.holdout) < ceil(0.2 * 2_000) + largest
    for row in range(0, 2_000, 97):
        same = np.flatnonzero((made == made[row]).all(axis=1))
        np.testing.assert_array_equal(np.flatnonzero(split.groups == split.groups[row]), same)


def test_equal_bytes_with_other_labels_are_other_groups() -> None:
    made = np.repeat(digests(10), 2, axis=0)
    labels = np.tile([0, 1], 10).astype(np.int32)
    assert len(np.unique(split_rows(made, labels, seed=0, holdout=0.1).groups)) == 20
    assert len(np.unique(split_rows(made, None, seed=0, holdout=0.1).groups)) == 10


def test_each_part_has_its_share_of_every_label_and_sizes_stay() -> None:
    made = digests(3_000)
    labels = np.random.default_rng(2).choice(4, 3_000, p=[0.5, 0.3, 0.15, 0.05]).astype(np.int32)
    split = split_rows(made, labels, seed=0, holdout=0.15)
    assert (len(split.holdout), len(split.tune), len(split.fit)) == (450, 255, 2_295)
    for label, rows in enumerate(np.bincount(labels)):
        assert abs(int((labels[split.holdout] == label).sum()) - 0.15 * rows) <= 1
        assert abs(int((labels[split.tune] == label).sum()) - 0.085 * rows) <= 2
    mine = split.where(labels == 3)
    assert set(labels[np.concatenate([mine.fit, mine.tune, mine.holdout])]) == {3}
    # Within a label the order is still that of the hash.
    alone = split_rows(made[labels == 1], None, seed=0, holdout=0.15).holdout
    here = contents(made[split.holdout[labels[split.holdout] == 1]])
    assert here == contents(made[labels == 1][alone])[: len(here)] or len(here) == len(alone) + 1


def test_rare_labels_are_held_out_as_often_as_frequent_ones() -> None:
    """800 labels of two rows beside one of 400: about a tenth of the rare rows, 160, is held out (sd 9)."""
    labels = np.concatenate([np.zeros(400), np.arange(2, 1_602) // 2]).astype(np.int32)
    held = labels[split_rows(digests(2_000), labels, seed=0, holdout=0.1).holdout]
    assert len(held) == 200
    assert abs(int((held > 0).sum()) - 160) < 4


def test_the_position_of_a_row_decides_nothing_and_the_seed_does() -> None:
    made = digests(1_000)
    order = np.random.default_rng(5).permutation(1_000)
    here, moved = (split_rows(rows, None, seed=0, holdout=0.1) for rows in (made, made[order]))
    assert contents(made[here.holdout]) == contents(made[order][moved.holdout])
    other = split_rows(made, None, seed=1, holdout=0.1)
    assert len(set(here.holdout) & set(other.holdout)) < 30  # 10 expected, sd 3


def test_a_group_that_begins_in_holdout_ends_in_it() -> None:
    made = np.repeat(digests(2), 50, axis=0)
    split = split_rows(made, None, seed=0, holdout=0.1)
    assert (len(split.holdout), len(split.tune), len(split.fit)) == (50, 50, 0)
