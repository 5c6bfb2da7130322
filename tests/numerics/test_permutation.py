"""The Feistel permutation is one, for every n; label counts are exact and mixed over the rows."""

import numpy as np
import pytest

from workers.randomness import Stream, permuted_position
from workers.sampling.labels import CountedLabels


def permuted(n: int, seed: int = 0) -> np.ndarray:
    return permuted_position(seed, Stream.LABELS, n, np.arange(n))


@pytest.mark.parametrize("n", [*range(1, 70), 255, 256, 257, 1023, 4096, 4097, 65_537, 200_000])
def test_every_position_is_taken_once(n: int) -> None:
    np.testing.assert_array_equal(np.sort(permuted(n)), np.arange(n))


def test_a_position_alone_is_the_position_among_all() -> None:
    whole = permuted(5_000)
    for position in (0, 1, 2_500, 4_999):
        assert permuted_position(0, Stream.LABELS, 5_000, np.array([position])).tolist() == [whole[position]]


def test_a_position_far_out_stays_in_range() -> None:
    n = 10**12
    places = permuted_position(3, Stream.LABELS, n, np.arange(n - 5_000, n))
    assert len(np.unique(places)) == 5_000
    assert places.min() >= 0
    assert places.max() < n
    with pytest.raises(ValueError, match="position"):
        permuted_position(3, Stream.LABELS, 10, np.array([10]))


def test_the_golden_permutation() -> None:
    assert permuted(12).tolist() == GOLDEN_12
    assert permuted_position(2**53 - 1, Stream.LABELS, 10**9, np.arange(4)).tolist() == GOLDEN_BILLION


GOLDEN_12 = [11, 4, 10, 5, 2, 9, 3, 7, 8, 6, 0, 1]
GOLDEN_BILLION = [666679863, 520731485, 570529180, 272262958]


def test_neighbours_are_far_apart_and_uncorrelated() -> None:
    """Correlation of position and place, and of neighbours, within 4 / sqrt n."""
    places = permuted(100_000).astype(float)
    limit = 4 / np.sqrt(len(places))
    assert abs(np.corrcoef(places, np.arange(len(places)))[0, 1]) < limit
    assert abs(np.corrcoef(places[1:], places[:-1])[0, 1]) < limit


@pytest.mark.parametrize("counts", [[1], [0, 5], [100, 300], [3, 0, 7, 1], [333, 333, 334]])
def test_label_counts_are_exact(counts: list[int]) -> None:
    labels = CountedLabels(counts).of_rows(0, sum(counts))
    assert np.bincount(labels, minlength=len(counts)).tolist() == counts


def test_golden_labels() -> None:
    assert CountedLabels([5, 9, 6]).of_rows(0, 20).tolist() == [
        1,
        0,
        2,
        1,
        2,
        2,
        0,
        1,
        1,
        2,
        0,
        0,
        2,
        0,
        1,
        1,
        1,
        2,
        1,
        1,
    ]
    far = CountedLabels([4 * 10**8, 6 * 10**8]).of_rows(10**8, 12)
    assert far.tolist() == [0, 0, 1, 1, 0, 1, 1, 0, 1, 0, 1, 0]


def test_labels_are_mixed_and_do_not_depend_on_borders() -> None:
    source = CountedLabels([5_000, 5_000])
    labels = source.of_rows(0, 10_000)
    np.testing.assert_array_equal(source.of_rows(4_321, 100), labels[4_321:4_421])
    np.testing.assert_array_equal(source.of_rows(9_990, 20)[10:], labels[:10])  # past the last row it begins again
    runs = 1 + np.count_nonzero(np.diff(labels))
    assert abs(runs - 5_000) < 4 * np.sqrt(2_500)  # Wald-Wolfowitz: mean n / 2, sd sqrt(n / 4)
