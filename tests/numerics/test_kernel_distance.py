"""Kernel distance and features: against brute force, and errors that cover what they claim to."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from workers.diagnostics.features import principal_features
from workers.diagnostics.kernel import kernel_distance, kernel_distance_difference


def by_loops(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The unbiased MMD^2 and 2 sd(h_i) / sqrt n, pair by pair."""
    n, size = x.shape

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / size + 1) ** 3)

    rows = []
    for i in range(n):
        pairs = [
            kernel(x[i], x[j]) + kernel(y[i], y[j]) - kernel(x[i], y[j]) - kernel(x[j], y[i])
            for j in range(n)
            if j != i
        ]
        rows.append(sum(pairs) / (n - 1))
    return float(np.mean(rows)), 2 * float(np.std(rows, ddof=1)) / n**0.5


def test_kernel_distance_agrees_with_brute_force() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((40, 5)), generator.standard_normal((40, 5)) + 0.5
    found = kernel_distance(x, y)
    value, error = by_loops(x, y)
    assert found.value == pytest.approx(value, rel=1e-12)
    assert found.standard_error == pytest.approx(error, rel=1e-12)


def test_blocks_do_not_change_the_distance() -> None:
    generator = np.random.default_rng(1)
    x, y = generator.standard_normal((1_100, 4)), generator.standard_normal((1_100, 4)) * 1.1
    inner = [(a @ b.T / 4 + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    for matrix in inner:
        np.fill_diagonal(matrix, 0.0)
    whole = (inner[0].sum() + inner[1].sum() - 2 * inner[2].sum()) / (1_100 * 1_099)
    assert kernel_distance(x, y).value == pytest.approx(whole, rel=1e-9)


def cubic_truth(shift: float, size: int) -> float:
    """MMD^2 between N(0, I) and N(shift e1, I): E k over independent pairs, with the moments of a = x'y / d."""

    def expectation(p: float, q: float) -> float:
        """E (x'y / d + 1)^3 for x ~ N(p e1, I), y ~ N(q e1, I)."""
        second_x, second_y = 1 + p**2, 1 + q**2
        third_x, third_y = p**3 + 3 * p, q**3 + 3 * q
        one = p * q
        two = second_x * second_y + (size - 1)
        three = third_x * third_y + 3 * p * q * (size - 1)
        return three / size**3 + 3 * two / size**2 + 3 * one / size + 1

    return expectation(0, 0) + expectation(shift, shift) - 2 * expectation(0, shift)


@pytest.mark.parametrize("shift", [0.0, 0.4, 1.0])
def test_the_error_covers_the_truth(shift: float) -> None:
    """200 repetitions at n = 100: two errors must cover in 90 % at least, and the mean be unbiased within 4 errors.

    The stated error is conservative: with a coverage of 95 % fewer than 180 have a chance of 0.2 %; seeds are fixed.
    """
    size, n, repeats = 4, 100, 200
    generator = np.random.default_rng(2)
    truth = cubic_truth(shift, size)
    found = []
    for _ in range(repeats):
        x, y = generator.standard_normal((2, n, size))
        y[:, 0] += shift
        found.append(kernel_distance(x, y))
    values = np.array([estimate.value for estimate in found])
    errors = np.array([estimate.standard_error for estimate in found])
    assert abs(values.mean() - truth) < 4 * values.std() / repeats**0.5
    assert (np.abs(values - truth) <= 2 * errors).sum() >= 180
    assert np.median(errors) > 0.8 * values.std()


def test_the_paired_difference_is_sharper_than_two_distances() -> None:
    generator = np.random.default_rng(3)
    noise, reference = generator.standard_normal((2, 400, 6))
    near, far = noise * 1.05, noise * 1.1
    difference = kernel_distance_difference(near, far, reference)
    one, other = kernel_distance(near, reference), kernel_distance(far, reference)
    assert difference.value == pytest.approx(one.value - other.value, rel=1e-9)
    assert difference.standard_error < 0.6 * np.hypot(one.standard_error, other.standard_error)
    assert kernel_distance_difference(near, near, reference).standard_error == 0.0


def test_distances_of_unequal_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="equally many"):
        kernel_distance(np.zeros((5, 2)), np.zeros((4, 2)))


@pytest.mark.parametrize(("rows", "shape"), [(500, (3, 4)), (60, (8, 9))])
def test_features_are_principal_components_of_mean_square_norm_d(rows: int, shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(4)
    pictures = (generator.random((rows, *shape)) ** 2 * 255).astype(np.uint8)
    features = principal_features(pictures, 50)
    found = features(pictures)
    assert found.shape == (rows, 5)
    assert (found**2).sum(axis=1).mean() == pytest.approx(5.0)
    theirs = PCA(5).fit_transform(pictures.reshape(rows, -1).astype(float))
    scale = np.sqrt(5 / (theirs**2).sum(axis=1).mean())
    np.testing.assert_allclose(np.abs(found), np.abs(theirs * scale), atol=1e-7)
    np.testing.assert_allclose(found @ found.T, theirs @ theirs.T * scale**2, atol=1e-7)
    np.testing.assert_allclose(features(pictures[:7]), found[:7], rtol=1e-9, atol=1e-12)


def test_features_end_with_the_rank_and_standardise_columns_on_request() -> None:
    generator = np.random.default_rng(5)
    table = generator.standard_normal((300, 3)) * [1e6, 1.0, 1e-6] + 7.0
    table = np.concatenate([table, np.full((300, 1), 2.0)], axis=1)
    features = principal_features(table, 1_000, standardise=True)
    found = features(table)
    assert found.shape == (300, 3)
    spread = found.std(axis=0)
    assert spread.max() / spread.min() < 1.3
    assert principal_features(table, 1_000)(table).shape[1] < 3  # without it the first column is all there is
    wide = principal_features(generator.standard_normal((200, 80)), 1_000)
    assert wide.axes.shape == (80, 64)
    with pytest.raises(ValueError, match="too few"):
        principal_features(table, 9)
    with pytest.raises(ValueError, match="the same"):
        principal_features(np.ones((20, 3)), 100)
