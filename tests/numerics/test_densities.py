"""Densities against SciPy and scikit-learn; draws against the density that they claim to follow."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp
from sklearn.mixture import GaussianMixture as Reference
from threadpoolctl import threadpool_limits

from latentmill.errors import DataError
from latentmill.specs import Gaussian, Mixture, VaeManifest
from workers.posteriors.density import Density
from workers.posteriors.families import density_of
from workers.posteriors.gaussian import gaussian_parameters
from workers.posteriors.moments import Moments
from workers.posteriors.prior import declared_prior, is_standard_normal, standard_normal
from workers.randomness import Stream, normals, uniforms

SIZE = 3
ROWS = 40_000


def parameters(kind: str) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(4)
    roots = generator.standard_normal((4, SIZE, SIZE))
    covariances = roots @ roots.transpose(0, 2, 1) + 0.3 * np.eye(SIZE)
    means = 3 * generator.standard_normal((4, SIZE))
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    return {
        "gaussian full": {"mean": means[0], "covariance": covariances[0]},
        "gaussian diagonal": {"mean": means[0], "variance": np.diagonal(covariances[0]).copy()},
        "mixture full": {"weights": weights, "means": means, "covariances": covariances},
        "mixture diagonal": {
            "weights": weights,
            "means": means,
            "variances": np.diagonal(covariances, axis1=1, axis2=2).copy(),
        },
    }[kind]


def density(kind: str) -> Density:
    family = Gaussian() if kind.startswith("gaussian") else Mixture(components=4)
    return density_of(family, parameters(kind))


def components_of(kind: str) -> list[tuple[float, np.ndarray, np.ndarray]]:
    given = parameters(kind)
    if "mean" in given:
        spread = given["covariance"] if "covariance" in given else np.diag(given["variance"])
        return [(1.0, given["mean"], spread)]
    spreads = given["covariances"] if "covariances" in given else [np.diag(row) for row in given["variances"]]
    return list(zip(given["weights"], given["means"], spreads, strict=True))


KINDS = ["gaussian full", "gaussian diagonal", "mixture full", "mixture diagonal"]


@pytest.mark.parametrize("kind", KINDS)
def test_log_density_agrees_with_scipy(kind: str) -> None:
    points = 4 * np.random.default_rng(0).standard_normal((500, SIZE))
    expected = logsumexp(
        [
            np.log(weight) + stats.multivariate_normal(mean, spread).logpdf(points)
            for weight, mean, spread in components_of(kind)
        ],
        axis=0,
    )
    np.testing.assert_allclose(density(kind).log_density(points), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("covariance", ["full", "diag"])
def test_mixtures_score_as_scikit_learn_does(covariance: str) -> None:
    points = np.random.default_rng(0).standard_normal((2_000, SIZE)) ** 3
    model = Reference(5, covariance_type=covariance, random_state=0).fit(points)
    name = "covariances" if covariance == "full" else "variances"
    ours = density_of(
        Mixture(components=5), {"weights": model.weights_, "means": model.means_, name: model.covariances_}
    )
    np.testing.assert_allclose(ours.log_density(points), model.score_samples(points), rtol=1e-10, atol=1e-10)


def drawn(kind: str, temperature: float = 1.0) -> np.ndarray:
    noise = normals(1, Stream.LATENTS, 0, ROWS, SIZE)
    return density(kind).draw(noise, uniforms(1, Stream.CHOICES, 0, ROWS), temperature)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_draws_follow_the_density(kind: str, temperature: float) -> None:
    """Kolmogorov-Smirnov on 8 directions against the exact law of the projection.

    False alarm 1e-3 in all over the 8 directions of a case (Bonferroni), at fixed seeds; t scales within components.
    """
    latents = drawn(kind, temperature)
    for direction in np.random.default_rng(7).standard_normal((8, SIZE)):
        parts = [
            (weight, float(direction @ mean), temperature * float(np.sqrt(direction @ spread @ direction)))
            for weight, mean, spread in components_of(kind)
        ]

        def law(values: np.ndarray, parts: list[tuple[float, float, float]] = parts) -> np.ndarray:
            return sum(weight * stats.norm.cdf(values, centre, width) for weight, centre, width in parts)

        assert stats.kstest(latents @ direction, law).pvalue > 1e-3 / 8


@pytest.mark.parametrize("kind", KINDS)
def test_mean_log_density_of_draws_is_the_negative_entropy(kind: str) -> None:
    """E_f[ln f] by the draws agrees with E_f[ln f] over SciPy's own draws within 4 paired errors."""
    generator = np.random.default_rng(8)
    parts = components_of(kind)
    chosen = generator.choice(len(parts), ROWS, p=[weight for weight, _, _ in parts])
    foreign = np.empty((ROWS, SIZE))
    for number, (_, mean, spread) in enumerate(parts):
        foreign[chosen == number] = stats.multivariate_normal(mean, spread).rvs(
            int((chosen == number).sum()), random_state=generator
        )
    ours, theirs = (density(kind).log_density(points) for points in (drawn(kind), foreign))
    error = np.sqrt((ours.var() + theirs.var()) / ROWS)
    assert abs(ours.mean() - theirs.mean()) < 4 * error


def test_component_frequencies_are_the_weights_and_the_choice_ends_at_the_last() -> None:
    mixture = density_of(
        Mixture(components=3),
        {
            "weights": np.array([0.3, 0.3, 0.4]),
            "means": np.array([[0.0], [10.0], [20.0]]),
            "variances": np.full((3, 1), 1e-18),
        },
    )
    edge = mixture.draw(np.zeros((4, 1)), np.array([0.0, 0.3, np.nextafter(0.6, 1), 1 - 2.0**-53]))
    np.testing.assert_allclose(edge[:, 0], [0, 10, 20, 20], atol=1e-9)
    noise = normals(2, Stream.LATENTS, 0, ROWS, 1)
    counts = np.bincount(np.rint(mixture.draw(noise, uniforms(2, Stream.CHOICES, 0, ROWS))[:, 0] / 10).astype(int))
    assert stats.chisquare(counts, ROWS * np.array([0.3, 0.3, 0.4])).pvalue > 1e-3


def test_weights_that_add_up_to_less_than_one_still_choose_a_component() -> None:
    """Ten times 0.1 cumulates to 1 - 2^-53, which is the largest uniform."""
    tenths = {"weights": np.full(10, 0.1), "means": np.arange(10.0)[:, None], "variances": np.full((10, 1), 1e-18)}
    assert np.cumsum(tenths["weights"])[-1] == 1 - 2.0**-53
    last = density_of(Mixture(components=10), tenths).draw(np.zeros((1, 1)), np.array([1 - 2.0**-53]))
    assert last[0, 0] == 9.0


def test_the_number_of_blas_threads_does_not_change_a_draw() -> None:
    """Opened outside of any limit, as a shard opens its fit: a factor by two threads has other bits."""
    root = np.random.default_rng(0).standard_normal((256, 256))
    covariance = root @ root.T + np.eye(256)
    given = {
        "gaussian": (Gaussian(), {"mean": np.zeros(256), "covariance": covariance}),
        "mixture": (
            Mixture(components=1),
            {"weights": np.ones(1), "means": np.zeros((1, 256)), "covariances": covariance[None]},
        ),
    }
    for family, values in given.values():
        factors = []
        for threads in (1, 2):
            with threadpool_limits(threads, "blas"):
                opened = density_of(family, values)
            factors.append(opened.draw(np.eye(256), np.zeros(256)))
        np.testing.assert_array_equal(*factors)


@pytest.mark.parametrize(("correlation", "refused"), [(1 - 1e-9, False), (1 - 1e-11, True), (-(1 - 1e-11), True)])
def test_a_covariance_is_singular_by_its_correlations_and_not_by_its_scale(correlation: float, refused: bool) -> None:
    """The smallest eigenvalue of the correlations is 1 - abs(r), whatever the unit of each dimension."""
    scale = np.array([1e-6, 1e3])
    scatter = 50 * np.outer(scale, scale) * [[1, correlation], [correlation, 1]]
    moments = Moments(50, np.zeros(2), scatter, np.zeros(2))
    if refused:
        with pytest.raises(DataError, match="singular"):
            gaussian_parameters(moments, "full", 0.0)
    else:
        np.testing.assert_allclose(gaussian_parameters(moments, "full", 0.0)["covariance"], scatter / 50)


def manifest(prior: dict) -> VaeManifest:
    return VaeManifest.model_validate(
        {
            "schema": 1,
            "name": "m",
            "engine": "torch",
            "latent": {"shape": [SIZE]},
            "rows": {"kind": "tensor", "shape": [4]},
            "encoder": {},
            "prior": prior,
            "architecture": {"name": "mlp"},
        }
    )


def test_declared_priors() -> None:
    normal = declared_prior(manifest({"kind": "standard_normal"}), {})
    assert is_standard_normal(normal)
    points = np.random.default_rng(0).standard_normal((100, SIZE))
    np.testing.assert_allclose(normal.log_density(points), stats.norm.logpdf(points).sum(axis=1), rtol=1e-12)
    noise = normals(0, Stream.LATENTS, 0, 10, SIZE)
    np.testing.assert_array_equal(normal.draw(noise, None, 0.7), 0.7 * noise)
    assert declared_prior(manifest({"kind": "none"}), {}) is None
    given = {name: array.astype(np.float32) for name, array in parameters("mixture diagonal").items()}
    learned = declared_prior(manifest({"kind": "mixture"}), given)
    assert learned.needs_choice
    assert not is_standard_normal(learned)
    np.testing.assert_allclose(learned.log_density(points), density("mixture diagonal").log_density(points), rtol=1e-4)
    assert not is_standard_normal(density("gaussian diagonal"))
    assert is_standard_normal(standard_normal(2))
