"""Densities at a temperature: that of what is drawn at it, by SciPy and by the change of variables."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from tests.numerics.test_flow import wild
from workers.posteriors.density import Density
from workers.posteriors.empirical import EmpiricalDensity
from workers.posteriors.flow import FlowDensity
from workers.posteriors.gaussian import DiagonalGaussian, FullGaussian
from workers.posteriors.labelled import LabelledDensity
from workers.posteriors.mixture import GaussianMixture
from workers.posteriors.tempered import tempered

T = 0.6
GENERATOR = np.random.default_rng(3)
ROOTS = GENERATOR.standard_normal((3, 2, 2))
SPREADS = ROOTS @ ROOTS.transpose(0, 2, 1) + 0.3 * np.eye(2)
MEANS = 2 * GENERATOR.standard_normal((3, 2))
WEIGHTS = np.array([0.2, 0.3, 0.5])
DIAGONALS = np.diagonal(SPREADS, axis1=1, axis2=2).copy()
POINTS = 3 * GENERATOR.standard_normal((300, 2))
FLAT = np.zeros((3, 2, 2)) + DIAGONALS[:, :, None] * np.eye(2)

PARTS = [FullGaussian(MEANS[0], SPREADS[0]), DiagonalGaussian(MEANS[1], DIAGONALS[1])]
BY_SCIPY = {  # weights, means and covariances of the components of each density, at temperature 1
    "full": (PARTS[0], WEIGHTS[:1], MEANS[:1], SPREADS[:1]),
    "diagonal": (PARTS[1], WEIGHTS[:1], MEANS[1:2], FLAT[1:2]),
    "mixture": (GaussianMixture(WEIGHTS, MEANS, SPREADS), WEIGHTS, MEANS, SPREADS),
    "diagonal mixture": (GaussianMixture(WEIGHTS, MEANS, DIAGONALS), WEIGHTS, MEANS, FLAT),
    "empirical": (
        EmpiricalDensity(MEANS.astype(np.float32), np.sqrt(DIAGONALS).astype(np.float32)), np.ones(3), MEANS, FLAT,
    ),
    "by label": (
        LabelledDensity(["a", "b"], np.array([0.4, 0.6]), PARTS),
        np.array([0.4, 0.6]), MEANS[:2], np.stack([SPREADS[0], FLAT[1]]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BY_SCIPY)
def test_components_are_scaled_and_weights_and_means_stay(kind: str) -> None:
    density, weights, means, spreads = BY_SCIPY[kind]
    expected = logsumexp(
        [
            np.log(weight / weights.sum()) + stats.multivariate_normal(mean, T**2 * spread).logpdf(POINTS)
            for weight, mean, spread in zip(weights, means, spreads, strict=True)
        ],
        axis=0,
    )
    np.testing.assert_allclose(tempered(density, T).log_density(POINTS), expected, rtol=1e-5, atol=1e-5)
    assert tempered(density, 1.0) is density


@pytest.mark.parametrize("kind", BY_SCIPY)
def test_draws_at_the_temperature_are_draws_of_it(kind: str) -> None:
    density = BY_SCIPY[kind][0]
    noise, choices = GENERATOR.standard_normal((50, 2)), GENERATOR.random(50)
    np.testing.assert_allclose(
        tempered(density, T).draw(noise, choices), density.draw(noise, choices, T), rtol=1e-6, atol=1e-6
    )


def test_a_flow_has_the_density_of_its_draws_by_the_change_of_variables() -> None:
    """ln f_t(z) = ln N(e; 0, I) - ln |det dz/de| with the determinant by central differences; one dimension is idle."""
    flow = FlowDensity(np.array([True, False, True]), np.array([0.3, -0.2]), np.array([[0.5, 0], [0.2, 0.4]]), wild(2))
    noise, step = GENERATOR.standard_normal((40, 3)), 1e-5

    def drawn(normals: np.ndarray) -> np.ndarray:
        return flow.draw(normals, None, T)

    columns = [(drawn(noise + step * axis) - drawn(noise - step * axis)) / (2 * step) for axis in np.eye(3)]
    rise = np.linalg.slogdet(np.stack(columns, axis=2))[1]
    expected = stats.norm.logpdf(noise).sum(axis=1) - rise
    wider: Density = tempered(flow, T)
    np.testing.assert_allclose(wider.log_density(drawn(noise)), expected, atol=1e-5)
    np.testing.assert_allclose(wider.draw(noise, None), drawn(noise), rtol=1e-12)


def test_there_is_no_density_at_temperature_zero() -> None:
    with pytest.raises(ValueError, match="above 0"):
        tempered(PARTS[0], 0.0)
