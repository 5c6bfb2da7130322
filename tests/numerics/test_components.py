"""The aggregate posterior as a density: sums of normals against SciPy, taken as they stand."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from workers.posteriors import components
from workers.posteriors.components import log_sums, log_sums_apart


def terms(latents: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """ln N(z; mu_i, diag sigma_i^2), (m, n)."""
    exact, spread = mean.astype(float), std.astype(float)
    return np.stack([stats.norm(exact, spread).logpdf(latent).sum(axis=1) for latent in latents])


@pytest.mark.parametrize("narrow", [1.0, 1e-3, 1e-6, 1e-12])
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_sums_are_those_of_scipy(narrow: float, offset: float) -> None:
    """Also where z^2 / s^2 - 2 z mu / s^2 + mu^2 / s^2 would cancel: stds of a millionth, means of hundreds."""
    generator = np.random.default_rng(0)
    mean = (offset + generator.standard_normal((1_500, 3))).astype(np.float32)
    std = np.exp(0.5 * generator.standard_normal((1_500, 3))).astype(np.float32)
    std[::2] *= np.float32(narrow)
    chosen = np.arange(0, 1_500, 75)
    latents = mean[chosen] + std[chosen] * generator.standard_normal((20, 3))
    found = log_sums(latents, mean, std)
    np.testing.assert_allclose(found, logsumexp(terms(latents, mean, std), axis=1), rtol=0, atol=1e-5)
    wide = log_sums(latents, mean, std, bandwidth=1.5)
    np.testing.assert_allclose(wide, logsumexp(terms(latents, mean, 1.5 * std.astype(float)), axis=1), atol=1e-5)


def test_own_components_are_taken_apart_wherever_blocks_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "CHUNK_VALUES", 40)
    monkeypatch.setattr(components, "COMPONENTS_AT_ONCE", 7)
    generator = np.random.default_rng(1)
    mean, std = generator.standard_normal((23, 2)), np.exp(generator.standard_normal((23, 2)))
    latents = generator.standard_normal((9, 2))
    own = np.array([[0, 1], [5, 9], [6, 21], [22, 23], [0, 23], [4, 4], [7, 14], [0, 0], [13, 15]])
    rest, apart = log_sums_apart(latents, mean, std, own)
    each = terms(latents, mean, std)
    mine = (np.arange(23) >= own[:, :1]) & (np.arange(23) < own[:, 1:])
    np.testing.assert_allclose(rest, logsumexp(np.where(mine, -np.inf, each), axis=1), atol=1e-12)
    np.testing.assert_allclose(apart, logsumexp(np.where(mine, each, -np.inf), axis=1), atol=1e-12)
    assert np.isneginf(rest[4])
    assert np.isneginf(apart[5])


def test_a_latent_far_from_every_component_has_a_finite_sum() -> None:
    found = log_sums(np.full((1, 2), 1e4), np.zeros((3, 2)), np.ones((3, 2)))
    assert found[0] == pytest.approx(np.log(3) - 1e8 - np.log(2 * np.pi), rel=1e-12)
