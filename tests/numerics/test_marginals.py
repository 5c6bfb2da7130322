"""Each dimension's KL(q(z_j) || p_j) against quadrature over all rows' normals."""

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import logsumexp

from tests.numerics.planted import encoding_of, matched
from workers.posteriors import Encoding, standard_normal
from workers.posteriors import marginals as module
from workers.posteriors.marginals import marginal_kls, marginals_of
from workers.posteriors.mixture import GaussianMixture


def found_in(encoding: Encoding, rows: np.ndarray | None = None) -> np.ndarray:
    chosen = np.arange(encoding.rows) if rows is None else rows
    prior = marginals_of(standard_normal(encoding.latent_size))
    assert prior is not None
    return marginal_kls(encoding, chosen, np.ones(encoding.latent_size), prior, check=lambda: None)


def quadrature(mean: np.ndarray, std: np.ndarray) -> float:
    """The integral of q ln(q / p) by Simpson's rule with 20 points to the narrowest std, q as it stands."""
    mu, sigma = mean.astype(float), std.astype(float)
    low, high = (mu - 9 * sigma).min(), (mu + 9 * sigma).max()
    z = np.linspace(low, high, 2 * int(10 * (high - low) / sigma.min()) + 1)
    log_q = logsumexp(stats.norm(mu[:, None], sigma[:, None]).logpdf(z), axis=0) - np.log(len(mu))
    return float(integrate.simpson(np.exp(log_q) * (log_q - stats.norm.logpdf(z)), x=z))


def dimensions(rows: int = 60) -> Encoding:
    generator = np.random.default_rng(0)
    normal, spread = generator.standard_normal((2, rows))
    columns = [
        (0.9 * normal, 0.3 * np.exp(0.5 * spread)),
        (np.sign(normal) * 2, np.full(rows, 0.2)),
        (5 + 3 * normal, 0.5 * np.exp(spread)),
        (0.001 * normal, np.ones(rows)),
        (normal, np.where(np.arange(rows) == 5, 20.0, 0.1)),
    ]
    return encoding_of(np.stack([mean for mean, _ in columns], axis=1), np.stack([std for _, std in columns], axis=1))


def test_a_dimension_is_as_quadrature_has_it() -> None:
    encoding = dimensions()
    truth = [quadrature(encoding.mean[:, number], encoding.std[:, number]) for number in range(encoding.latent_size)]
    np.testing.assert_allclose(found_in(encoding), truth, rtol=1e-3, atol=1e-4)


def test_rows_are_those_asked_for_and_dimensions_may_be_counted_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    encoding, rows = dimensions(), np.arange(50, 3, -3)
    part = encoding_of(encoding.mean[rows], encoding.std[rows])
    np.testing.assert_allclose(found_in(encoding, rows), found_in(part), rtol=1e-9, atol=1e-12)
    together = found_in(encoding)
    monkeypatch.setattr(module, "MAX_COUNTS", 1)
    monkeypatch.setattr(module, "BLOCK_VALUES", 40)
    np.testing.assert_allclose(found_in(encoding), together, rtol=1e-9, atol=1e-12)


def test_a_matched_encoder_has_matched_dimensions() -> None:
    found = found_in(matched(20_000, 4))
    assert np.all(found > -1e-9)
    assert np.all(found < 1e-3)


def test_a_mixture_prior_has_marginals() -> None:
    """q is the prior's marginal itself: KL 0 where p is that mixture, as quadrature says where p is N(0, 1)."""
    factor = np.array([[0.5, 0.0], [0.4, 0.3]])
    means = np.array([[-1.0, 0.5], [2.0, 0.0]])
    prior = GaussianMixture(np.array([0.25, 0.75]), means, np.stack([factor @ factor.T, np.diag([0.09, 0.25])]))
    stds = np.array([[0.5, 0.5], [0.3, 0.5]])
    encoding = encoding_of(means[[0, 1, 1, 1]], stds[[0, 1, 1, 1]])
    marginals = marginals_of(prior)
    assert marginals is not None
    found = marginal_kls(encoding, np.arange(4), np.ones(2), marginals, check=lambda: None)
    np.testing.assert_allclose(found, 0.0, atol=1e-4)
    assert marginals_of(None) is None


def test_what_cannot_be_measured_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A std of 0; stds below any grid; and, beyond a number of dimensions, those of the smaller rates."""
    generator = np.random.default_rng(1)
    std = np.full((100, 4), 0.5)
    std[3, 1] = 0.0
    std[:, 2] = 1e-7
    encoding = encoding_of(generator.standard_normal((100, 4)), std)
    assert np.isnan(found_in(encoding)).tolist() == [False, True, True, False]
    monkeypatch.setattr(module, "MAX_DIMENSIONS", 1)
    marginals = marginals_of(standard_normal(4))
    assert marginals is not None
    found = marginal_kls(encoding, np.arange(100), np.array([1.0, np.inf, 0.5, 9.0]), marginals, check=lambda: None)
    assert np.isnan(found).all()  # the largest rate is that of the dimension without noise
    found = marginal_kls(encoding, np.arange(100), np.array([1.0, 2.0, 0.5, 9.0]), marginals, check=lambda: None)
    assert np.isnan(found).tolist() == [True, True, True, False]
