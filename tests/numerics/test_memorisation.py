"""Memorisation: no alarm for fresh draws, an alarm for copies, and the statistic against brute force."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from workers.diagnostics.duplicates import duplicates, row_digests
from workers.diagnostics.memorisation import Memorisation, memorisation
from workers.rows import Field, RowBatch

Floats = np.ndarray


def real_rows(rows: int, size: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Features, and whether the fit learned from the row: 8 of 10."""
    generator = np.random.default_rng(seed)
    return generator.standard_normal((rows, size)), generator.random(rows) < 0.8


def in_blocks(features: Floats, learned: Floats, rows: int):
    return [(features[first : first + rows], learned[first : first + rows]) for first in range(0, len(features), rows)]


@pytest.mark.parametrize("block", [97, 700, 1_500])
def test_shares_and_errors_agree_with_all_distances(block: int) -> None:
    features, learned = real_rows(1_500, 4)
    generated = np.random.default_rng(1).standard_normal((300, 4)) * 1.2
    found = memorisation(generated, in_blocks(features, learned, block))
    nearest = cdist(generated, features).argmin(axis=1)
    times = np.bincount(nearest).astype(float)
    expected = learned.mean()
    assert found.share == learned[nearest].mean()
    assert found.expected == expected
    assert found.standard_error == pytest.approx((expected * (1 - expected) * (times**2).sum()) ** 0.5 / 300)
    assert found.z == pytest.approx((found.share - expected) / found.standard_error)
    assert found.as_json() == {
        "share": found.share,
        "expected": expected,
        "standard_error": found.standard_error,
        "z": found.z,
    }


def test_fresh_draws_raise_no_alarm_and_z_has_deviation_one() -> None:
    """40 samples of 200 rows: z within 4 always, its deviation 1 within 3.5 errors of 40 samples."""
    found = []
    for seed in range(40):
        features, learned = real_rows(1_000, 3, seed)
        fresh = np.random.default_rng(1_000 + seed).standard_normal((200, 3))
        found.append(memorisation(fresh, [(features, learned)]))
    z = np.array([each.z for each in found])
    assert not any(each.marked for each in found)
    assert abs(z.mean()) < 4 / 40**0.5
    assert 0.6 < z.std() < 1.4


def test_rows_that_are_nearest_to_many_are_one_piece_of_evidence() -> None:
    """All generated rows lie at one real row: whatever its mark, that is a single coin."""
    features, learned = real_rows(500, 3)
    collapsed = features[np.flatnonzero(learned)[0]] + 1e-3 * np.random.default_rng(2).standard_normal((200, 3))
    found = memorisation(collapsed, [(features, learned)])
    assert found.share == 1.0
    assert found.z < 1.0


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
def test_copies_of_fit_rows_are_marked(noise: float) -> None:
    features, learned = real_rows(2_000, 6)
    generator = np.random.default_rng(3)
    originals = features[generator.permutation(np.flatnonzero(learned))[:500]]
    found = memorisation(originals + noise * generator.standard_normal((500, 6)), [(features, learned)])
    assert found.share > 0.98
    assert found.marked
    assert found.z > 8


def test_copies_of_held_out_rows_are_the_opposite() -> None:
    features, learned = real_rows(2_000, 6)
    found = memorisation(features[~learned], [(features, learned)])
    assert found.share == 0.0
    assert found.z < -8
    assert not found.marked


def test_of_equally_near_rows_the_first_counts_in_any_blocks() -> None:
    """Rows of a lattice, turned so that equal distances are equal but for rounding, which must break no tie."""
    generator = np.random.default_rng(4)
    features, generated = generator.integers(0, 3, (600, 3)), generator.integers(0, 3, (100, 3)) + 0.5
    learned = generator.random(600) < 0.8
    squares = ((generated[:, None, :] - features) ** 2).sum(axis=2)
    assert (squares == squares.min(axis=1, keepdims=True)).sum(axis=1).mean() > 5
    nearest = squares.argmin(axis=1)
    share, times = learned.mean(), np.unique(nearest, return_counts=True)[1]
    error = (share * (1 - share) * (times**2).sum()) ** 0.5 / 100
    turn = np.linalg.qr(generator.standard_normal((3, 3)))[0]
    for rows in (1, 7, 333, 600):
        found = memorisation((generated + 9.0) @ turn, in_blocks((features + 9.0) @ turn, learned, rows))
        assert (found.share, found.standard_error) == pytest.approx((learned[nearest].mean(), error))


def test_rows_of_one_kind_alone_tell_nothing() -> None:
    features, _ = real_rows(50, 2)
    for marks in (np.ones(50, dtype=bool), np.zeros(50, dtype=bool)):
        with pytest.raises(ValueError, match="nothing tells"):
            memorisation(features, [(features, marks)])


def test_the_mark_needs_more_than_four_errors() -> None:
    assert not Memorisation(0.9, 0.8, 0.025, 4.0).marked
    assert Memorisation(0.9, 0.8, 0.0249, 4.02).marked


IMAGES = (Field("rows", np.dtype(np.uint8), (2, 2)),)
COLUMNS = (
    Field("x", np.dtype(np.float64), missing=True),
    Field("n", np.dtype(np.int64)),
    Field("c", np.dtype(np.int32), categories=("a", "b"), missing=True),
    Field("b", np.dtype(np.bool_)),
)


def test_copies_are_counted_to_the_last_byte() -> None:
    real = np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]], [[1, 2], [3, 4]], [[9, 9], [9, 9]]], dtype=np.uint8)
    made = np.array([[[1, 2], [3, 4]], [[1, 2], [3, 5]], [[9, 9], [9, 9]], [[1, 2], [3, 4]]], dtype=np.uint8)
    digests = [row_digests(RowBatch({"rows": rows}), IMAGES) for rows in (made, real)]
    found = duplicates(*digests)
    assert (found.duplicates, found.duplicates_among_real) == (3, 2)
    assert found.as_json() == {
        "duplicates": 3,
        "duplicates_share": 0.75,
        "duplicates_among_real": 2,
        "duplicates_among_real_share": 0.5,
    }
    parts = [row_digests(RowBatch({"rows": rows}), IMAGES) for rows in (real[:1], real[1:])]
    np.testing.assert_array_equal(np.concatenate(parts), digests[1])
    none = duplicates(row_digests(RowBatch({"rows": made[1:2]}), IMAGES), digests[1])
    assert none.duplicates == 0


def table(x: list[float], missing: list[bool], c: list[int]) -> RowBatch:
    rows = len(x)
    return RowBatch(
        {"x": np.array(x), "n": np.arange(rows) * 0 + 7, "c": np.array(c, dtype=np.int32), "b": np.ones(rows, bool)},
        {"c": np.array(missing)},
    )


def test_digests_of_tables_see_what_is_delivered() -> None:
    """What stands in the place of a missing value is not delivered, and -0 is 0; all else counts."""
    found = row_digests(
        table([1.0, 1.0, np.nan, 0.0, -0.0, 1.0], [True, True, False, False, False, False], [0, 1, 0, 1, 1, 0]), COLUMNS
    )
    same = [[(found[i] == found[j]).all() for j in range(6)] for i in range(6)]
    expected = np.eye(6, dtype=bool)
    expected[0, 1] = expected[1, 0] = expected[3, 4] = expected[4, 3] = True
    np.testing.assert_array_equal(same, expected)
