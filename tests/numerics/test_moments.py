"""Moments against brute force, in any order of merging; shrinkage against two independent computations."""

from itertools import pairwise

import numpy as np
import pytest

from workers.posteriors.encoding import Encoding
from workers.posteriors.moments import Moments
from workers.posteriors.shrinkage import shrinkage_of


def made(rows: int, latent_size: int, seed: int = 0) -> Encoding:
    generator = np.random.default_rng(seed)
    mixing = generator.standard_normal((latent_size, latent_size))
    mean = generator.standard_normal((rows, latent_size)) @ mixing + 1e3 * generator.standard_normal(latent_size)
    return Encoding(
        mean=mean.astype(np.float32),
        std=generator.gamma(2.0, 0.3, (rows, latent_size)).astype(np.float32),
        labels=None,
        row_digests=generator.integers(0, 256, (rows, 16)).astype(np.uint8),
    )


def brute_force(encoding: Encoding) -> tuple[np.ndarray, np.ndarray]:
    """m and S in extended precision, by the definition of the law of total covariance."""
    mu, sigma = encoding.mean.astype(np.longdouble), encoding.std.astype(np.longdouble)
    mean = mu.sum(axis=0) / len(mu)
    covariance = (mu - mean).T @ (mu - mean) / len(mu) + np.diag((sigma**2).sum(axis=0) / len(mu))
    return mean, covariance


@pytest.mark.parametrize("borders", [(0, 997), (0, 1, 2, 997), (0, 500, 500, 996, 997), tuple(range(0, 998))])
def test_moments_agree_with_brute_force_however_they_are_merged(borders: tuple[int, ...]) -> None:
    encoding = made(997, 6)
    mean, covariance = brute_force(encoding)
    parts = [slice(*ends) for ends in pairwise(borders)]
    for order in (parts, parts[::-1]):
        full, diagonal = Moments.none(6, full=True), Moments.none(6, full=False)
        for part in order:
            full = full.merge(Moments.of(encoding.mean[part], encoding.std[part], full=True))
            diagonal = diagonal.merge(Moments.of(encoding.mean[part], encoding.std[part], full=False))
        assert full.rows == 997
        scale = np.sqrt(np.diagonal(covariance))
        np.testing.assert_allclose(full.mean, mean.astype(float), rtol=1e-12)
        np.testing.assert_allclose(
            full.covariance() / np.outer(scale, scale), covariance / np.outer(scale, scale), atol=1e-12
        )
        np.testing.assert_allclose(diagonal.variance, np.diagonal(covariance).astype(float), rtol=1e-12)
        np.testing.assert_allclose(full.mean_variance + full.std_mean_square, full.variance, rtol=1e-15)


def test_merging_a_tree_is_merging_a_chain() -> None:
    encoding = made(64, 3, seed=1)
    leaves = [Moments.of(encoding.mean[i : i + 1], encoding.std[i : i + 1], full=True) for i in range(64)]
    while len(leaves) > 1:
        leaves = [left.merge(right) for left, right in zip(leaves[::2], leaves[1::2], strict=True)]
    whole = Moments.of(encoding.mean, encoding.std, full=True)
    np.testing.assert_allclose(leaves[0].covariance(), whole.covariance(), rtol=1e-12, atol=1e-12)


def shrinkage_by_loops(x: np.ndarray) -> float:
    """Schafer and Strimmer's sums, one pair of dimensions at a time, with their own (n - 1) factors."""
    n, size = x.shape
    x = (x - x.mean(axis=0)) / x.std(axis=0, ddof=1)
    variances = squares = 0.0
    for j in range(size):
        for k in range(size):
            if j != k:
                w = x[:, j] * x[:, k]
                variances += n / (n - 1) ** 3 * float(((w - w.mean()) ** 2).sum())
                squares += (n / (n - 1) * float(w.mean())) ** 2
    return min(1.0, max(0.0, variances / squares))


def shrinkage_by_matrices(x: np.ndarray) -> float:
    """As the R package corpcor writes it: (E[x^2 y^2] - E[xy]^2) / E[xy]^2 times w2 / (1 - w2), w2 = 1 / n."""
    n = len(x)
    scaled = (x - x.mean(axis=0)) / x.std(axis=0, ddof=1)
    first = (scaled.T @ scaled / n) ** 2
    second = (scaled**2).T @ (scaled**2) / n
    first_sum, second_sum = first.sum() - np.trace(first), second.sum() - np.trace(second)
    return float(np.clip((second_sum - first_sum) / first_sum * (1 / n) / (1 - 1 / n), 0, 1))


@pytest.mark.parametrize(("rows", "latent_size"), [(30, 8), (12, 20), (79, 8), (5, 2)])
def test_shrinkage_agrees_with_its_formula(rows: int, latent_size: int) -> None:
    encoding = made(rows, latent_size, seed=rows)
    moments = Moments.of(encoding.mean, encoding.std, full=True)
    x = encoding.mean.astype(np.float64)
    found = shrinkage_of(encoding, np.arange(rows), moments)
    assert found == pytest.approx(shrinkage_by_loops(x), rel=1e-9)
    assert found == pytest.approx(shrinkage_by_matrices(x), rel=1e-9)
    assert 0 < found < 1
    covariance = moments.covariance(found)
    plain = moments.covariance()
    np.testing.assert_allclose(np.diagonal(covariance), np.diagonal(plain), rtol=1e-12)
    off = ~np.eye(latent_size, dtype=bool)
    np.testing.assert_allclose(covariance[off], (1 - found) * plain[off], rtol=1e-9)


def test_shrinkage_of_a_part_is_that_of_the_part_alone() -> None:
    encoding = made(60, 8, seed=2)
    kept = np.arange(60) % 3 > 0
    part = Moments.of(encoding.mean[kept], encoding.std[kept], full=True)
    assert shrinkage_of(encoding, np.flatnonzero(kept), part) == pytest.approx(
        shrinkage_by_loops(encoding.mean[kept].astype(float))
    )


def test_no_shrinkage_from_ten_rows_per_dimension_or_in_one_dimension() -> None:
    for rows, latent_size in ((80, 8), (5, 1)):
        encoding = made(rows, latent_size)
        assert shrinkage_of(encoding, np.arange(rows), Moments.of(encoding.mean, encoding.std, full=True)) == 0.0
