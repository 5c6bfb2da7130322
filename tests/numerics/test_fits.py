"""Fits: what they serve, what they are judged by, and closed forms that gains and rates must meet."""

import json

import numpy as np
import pytest
from scipy import stats
from threadpoolctl import threadpool_limits

from latentmill.errors import DataError, LimitExceeded
from latentmill.specs import Gaussian, Mixture
from tests.numerics.planted import encoding_of, fitted, matched, shifted
from workers.posteriors import Encoding, density_of
from workers.posteriors.mixture import mixture_density
from workers.posteriors.split import split_rows
from workers.randomness import Stream, normals

FULL, DIAGONAL = Gaussian(), Gaussian(covariance="diagonal")


def kl_of_gaussians(mean: np.ndarray, covariance: np.ndarray) -> float:
    """KL(N(m, S) || N(0, I)) through the eigenvalues of S."""
    values = np.linalg.eigvalsh(covariance)
    return float(0.5 * (values - np.log(values) - 1).sum() + 0.5 * mean @ mean)


def test_a_gaussian_serves_the_moments_of_all_rows() -> None:
    encoding, *_ = shifted(2_000)
    full, diagonal = fitted(encoding, FULL), fitted(encoding, DIAGONAL)
    mu, sigma = encoding.mean.astype(float), encoding.std.astype(float)
    covariance = np.cov(mu.T, bias=True) + np.diag((sigma**2).mean(axis=0))
    np.testing.assert_allclose(full.parameters["mean"], mu.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(full.parameters["covariance"], covariance, atol=1e-12)
    np.testing.assert_allclose(diagonal.parameters["variance"], np.diagonal(covariance), atol=1e-12)
    assert full.diagnostics["rows_used"] == full.diagnostics["rows"] == 2_000
    assert full.diagnostics["holdout_rows"] == 200
    assert full.parameters["covariance"].dtype == np.float64


def test_a_gaussian_is_judged_by_its_twin_without_the_held_out_rows() -> None:
    """The held-out numbers again, from the split and the noise alone, with SciPy's densities."""
    encoding, *_ = shifted(1_000, seed=3)
    diagnostics = fitted(encoding, FULL, seed=5).diagnostics
    holdout = split_rows(encoding.row_digests, None, seed=5, holdout=0.1).holdout
    rest = np.setdiff1d(np.arange(1_000), holdout)
    mu, sigma = encoding.mean.astype(float), encoding.std.astype(float)
    covariance = np.cov(mu[rest].T, bias=True) + np.diag((sigma[rest] ** 2).mean(axis=0))
    noise = normals(5, Stream.HOLDOUT_DRAWS, 0, 100, 16).reshape(100, 4, 4)
    draws = mu[holdout][:, None] + sigma[holdout][:, None] * noise
    ours = stats.multivariate_normal(mu[rest].mean(axis=0), covariance).logpdf(draws).mean(axis=1)
    prior = stats.multivariate_normal(np.zeros(4)).logpdf(draws).mean(axis=1)
    assert diagnostics["holdout_nll"] == pytest.approx(-ours.mean(), rel=1e-10)
    assert diagnostics["prior_holdout_nll"] == pytest.approx(-prior.mean(), rel=1e-10)
    assert diagnostics["gain"]["value"] == pytest.approx((ours - prior).mean(), rel=1e-9)
    assert diagnostics["gain"]["standard_error"] == pytest.approx((ours - prior).std(ddof=1) / 10, rel=1e-9)


def test_the_gain_of_a_gaussian_is_the_kl_where_q_is_gaussian() -> None:
    encoding, mean, covariance = shifted(20_000, seed=1)
    truth = kl_of_gaussians(mean, covariance)
    diagnostics = fitted(encoding, FULL).diagnostics
    gain = diagnostics["gain"]
    assert abs(gain["value"] - truth) < 4 * gain["standard_error"]
    assert diagnostics["gaussian_kl"] == pytest.approx(truth, abs=0.05)
    less = fitted(encoding, DIAGONAL).diagnostics["gain"]["value"]
    correlation = 0.5 * (np.log(np.diagonal(covariance)).sum() - np.linalg.slogdet(covariance)[1])
    assert gain["value"] - less == pytest.approx(correlation, abs=0.1)


@pytest.mark.parametrize("rows", [1_000, 60_000])
def test_an_informative_matched_vae_has_nothing_to_gain(rows: int) -> None:
    diagnostics = fitted(matched(rows, 10), FULL).diagnostics
    gain = diagnostics["gain"]
    assert diagnostics["mean_kl"] == pytest.approx(-5 * np.log(0.05), rel=0.02)
    assert abs(gain["value"] + 10 * 13 / (4 * 0.9 * rows)) < 4 * gain["standard_error"]  # what estimating m and S costs
    assert abs(gain["value"]) < 0.1
    assert diagnostics["gaussian_kl"] < 2 * 10 * 13 / (4 * rows) + 1e-3
    assert diagnostics["active_units"] == diagnostics["informative_units"] == 10
    assert diagnostics["inert_dimensions"] == []


def test_rates_add_up_and_agree_with_their_formula() -> None:
    encoding, *_ = shifted(3_000, seed=2)
    diagnostics = fitted(encoding, FULL).diagnostics
    mu, sigma = encoding.mean.astype(float), encoding.std.astype(float)
    rate = 0.5 * (mu**2 + sigma**2 - np.log(sigma**2) - 1)
    listed = diagnostics["per_dimension"]
    assert diagnostics["mean_kl"] == pytest.approx(rate.sum(axis=1).mean(), rel=1e-12)
    assert sum(entry["kl_to_prior"] for entry in listed) == pytest.approx(diagnostics["mean_kl"], rel=1e-12)
    for number, entry in enumerate(listed):
        assert entry["mean"] == pytest.approx(mu[:, number].mean(), abs=1e-12)
        assert entry["mean_variance"] == pytest.approx(mu[:, number].var(), rel=1e-10)
        assert entry["std_mean_square"] == pytest.approx((sigma[:, number] ** 2).mean(), rel=1e-10)
        assert entry["variance"] == pytest.approx(entry["mean_variance"] + entry["std_mean_square"], rel=1e-12)


def partly_inert(rows: int = 4_000) -> Encoding:
    """Dimensions 1 and 3 hold the prior and nothing else, each at about 1e-4 nats; 0 and 2 have three clusters."""
    generator = np.random.default_rng(6)
    means = 0.01 * generator.standard_normal((rows, 4))
    means[:, [0, 2]] = np.array([[-2, 0], [1, 2], [1, -2]])[generator.integers(0, 3, rows)]
    std = np.full((rows, 4), 0.3)
    std[:, [1, 3]] = 0.99
    return encoding_of(means, std)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_inert_dimensions_stay_with_the_prior_in_a_mixture_and_count_in_its_density(covariance: str) -> None:
    encoding = partly_inert()
    fit = fitted(encoding, Mixture(components=3, covariance=covariance))
    assert fit.diagnostics["inert_dimensions"] == [1, 3]
    assert fit.diagnostics["informative_units"] == 2
    np.testing.assert_array_equal(fit.parameters["means"][:, [1, 3]], 0.0)
    if covariance == "full":
        spread = fit.parameters["covariances"]
        np.testing.assert_array_equal(spread[:, 1], np.tile([0.0, 1.0, 0.0, 0.0], (3, 1)))
        np.testing.assert_array_equal(spread[:, :, 3], np.tile([0.0, 0.0, 0.0, 1.0], (3, 1)))
        active = spread[np.ix_(np.arange(3), [0, 2], [0, 2])]
    else:
        np.testing.assert_array_equal(fit.parameters["variances"][:, [1, 3]], 1.0)
        active = fit.parameters["variances"][:, [0, 2]]
    points = np.random.default_rng(1).standard_normal((50, 4))
    inner = {"weights": fit.parameters["weights"], "means": fit.parameters["means"][:, [0, 2]]}
    inner["covariances" if covariance == "full" else "variances"] = active
    split_density = mixture_density(inner).log_density(points[:, [0, 2]])
    split_density += stats.norm.logpdf(points[:, [1, 3]]).sum(axis=1)
    np.testing.assert_allclose(density_of(fit.family, fit.parameters).log_density(points), split_density, rtol=1e-12)
    gaussian = fitted(encoding, FULL)
    assert gaussian.parameters["covariance"][1, 1] != 1.0


def test_leaving_inert_dimensions_to_the_prior_costs_no_more_than_was_said() -> None:
    """Three dimensions of 0.008 nats each: two may be inert, and cost at most 0.02 nats against the exact fit."""
    generator = np.random.default_rng(2)
    means = np.concatenate([2 * generator.standard_normal((5_000, 1)), np.full((5_000, 3), 0.1265)], axis=1)
    std = np.tile([0.2, 1.0, 1.0, 1.0], (5_000, 1))
    encoding = encoding_of(means, std)
    fit = fitted(encoding, Mixture(components=1))
    assert len(fit.diagnostics["inert_dimensions"]) == 2
    exact = fitted(encoding, FULL).diagnostics["holdout_nll"]
    assert -0.02 < exact - fit.diagnostics["holdout_nll"] < 0.005
    assert fit.diagnostics["informative_units"] == 1


def test_a_collapsed_model_gives_the_prior_and_says_so() -> None:
    fit = fitted(encoding_of(np.zeros((500, 3)), 1.0), Mixture(components=8))
    assert fit.diagnostics["inert_dimensions"] == [0, 1, 2]
    assert fit.family == Mixture(components=1)
    assert any("inert" in warning for warning in fit.warnings)
    assert fit.diagnostics["gain"] == {"value": 0.0, "standard_error": 0.0}


def as_mixture_prior(weights: list[float], means: list[list[float]], variance: float) -> dict[str, np.ndarray]:
    return {
        "weights": np.array(weights),
        "means": np.array(means),
        "variances": np.full((len(weights), len(means[0])), variance),
    }


def test_a_mixture_prior_that_is_the_aggregate_posterior_leaves_nothing_to_gain() -> None:
    generator = np.random.default_rng(0)
    centres = [[-2.0, 0.0], [2.0, 1.0]]
    means = np.array(centres)[generator.integers(0, 2, 8_000)] + 0.4 * generator.standard_normal((8_000, 2))
    encoding = encoding_of(means, 0.3)
    prior = mixture_density(as_mixture_prior([0.5, 0.5], centres, 0.25))
    mixture, gaussian = fitted(encoding, Mixture(components=2), prior=prior), fitted(encoding, FULL, prior=prior)
    assert abs(mixture.diagnostics["gain"]["value"]) < 0.01
    assert gaussian.diagnostics["gain"]["value"] < -0.3
    for diagnostics in (mixture.diagnostics, gaussian.diagnostics):
        assert diagnostics["inert_dimensions"] == []
        assert diagnostics["gaussian_kl"] is None
        assert diagnostics["per_dimension"][0]["kl_to_prior"] is None
    # R = mean over x of KL(N(mu, s^2 I) || p), by integration on a grid around each of 300 rows
    offsets = np.stack(np.meshgrid(*2 * [np.linspace(-6, 6, 81)]), axis=-1).reshape(-1, 2)
    density = np.exp(-0.5 * (offsets**2).sum(axis=1)) / (2 * np.pi) * (12 / 80) ** 2
    rates = []
    for mu in encoding.mean[:300].astype(float):
        log_q = -0.5 * (offsets**2).sum(axis=1) - np.log(2 * np.pi) - 2 * np.log(0.3)
        rates.append(float(density @ (log_q - prior.log_density(mu + 0.3 * offsets))))
    found = gaussian.diagnostics
    assert abs(found["mean_kl"] - np.mean(rates)) < 4 * np.hypot(
        found["mean_kl_standard_error"], np.std(rates) / 300**0.5
    )


def test_a_normal_prior_written_as_a_mixture_gives_the_same_rate_and_gain() -> None:
    encoding, *_ = shifted(4_000)
    exact = fitted(encoding, FULL).diagnostics
    drawn = fitted(encoding, FULL, prior=mixture_density(as_mixture_prior([1.0], [[0.0] * 4], 1.0))).diagnostics
    assert abs(drawn["mean_kl"] - exact["mean_kl"]) < 4 * drawn["mean_kl_standard_error"]
    assert drawn["gain"]["value"] == pytest.approx(exact["gain"]["value"], rel=1e-9)


@pytest.mark.parametrize("family", [FULL, DIAGONAL, Mixture(components=3), Mixture()])
@pytest.mark.parametrize("prior", ["standard normal", None])
def test_a_deterministic_encoder_has_no_rate_and_finite_gains(family: Gaussian | Mixture, prior: str | None) -> None:
    generator = np.random.default_rng(1)
    means = np.array([[-3.0, 0, 1], [3, 1, 0]])[generator.integers(0, 2, 600)] + generator.standard_normal((600, 3))
    diagnostics = fitted(encoding_of(means, 0.0), family, prior=prior).diagnostics
    assert diagnostics["mean_kl"] is None
    assert diagnostics["per_dimension"][0]["kl_to_prior"] is None
    assert diagnostics["informative_units"] == 3
    assert diagnostics["inert_dimensions"] == []
    assert np.isfinite(diagnostics["gain"]["value"])
    assert diagnostics["gain_over"] == ("prior" if prior else "gaussian diagonal")
    if prior is None:
        assert diagnostics["gaussian_kl"] is None
        assert (diagnostics["gain"]["value"] == 0.0) is (family == DIAGONAL)
    json.dumps(diagnostics, allow_nan=False)


def test_few_rows_are_shrunk_and_say_so() -> None:
    generator = np.random.default_rng(0)
    encoding = encoding_of(generator.standard_normal((120, 40)), 0.5)
    few = fitted(encoding, FULL)
    assert 0.5 < few.diagnostics["shrinkage"] <= 1.0
    assert any("12 rows are held out" in warning for warning in few.warnings)
    assert fitted(matched(500, 10), FULL).diagnostics["shrinkage"] == 0.0
    assert np.linalg.eigvalsh(few.parameters["covariance"])[0] > 0.2


def test_without_holdout_there_is_no_gain_and_a_warning() -> None:
    fit = fitted(matched(500, 3), Mixture(components=2), holdout=0.0)
    assert [fit.diagnostics[name] for name in ("holdout_rows", "holdout_nll", "prior_holdout_nll", "gain")] == [
        0
    ] + 3 * [None]
    assert fit.diagnostics["rows_used"] == 500
    assert any("No rows are held out" in warning for warning in fit.warnings)


def test_the_same_request_gives_the_same_bytes_whatever_the_number_of_blas_threads() -> None:
    few, wide = partly_inert(1_000), matched(1_500, 32)  # by two threads the wide mixture would have other bits
    for encoding, family in ((few, FULL), (few, Mixture()), (wide, FULL), (wide, Mixture(components=1))):
        fits = []
        for threads in (1, 2):
            with threadpool_limits(threads, "blas"):
                fits.append(fitted(encoding, family, seed=3))
        first, second = fits
        assert {name: array.tobytes() for name, array in first.parameters.items()} == {
            name: array.tobytes() for name, array in second.parameters.items()
        }
        assert first.diagnostics == second.diagnostics


def test_progress_rises_to_one_and_a_stop_is_obeyed() -> None:
    told: list[float] = []
    fitted(matched(600, 2), Mixture(), progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0

    calls = []

    def stop() -> None:
        calls.append(None)
        if len(calls) == 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fitted(matched(600, 2), Mixture(), check=stop)


@pytest.mark.parametrize(
    ("encoding", "family", "error", "text"),
    [
        (encoding_of(np.tile([1.0, 2.0, 3.0], (50, 1)), 0.0), DIAGONAL, DataError, "3 of 3 latent"),
        (encoding_of(np.outer(np.arange(60), [1, -2]), 0.0), FULL, DataError, "singular; .*diagonal"),
        (encoding_of(np.zeros((4, 4_097)), 1.0), FULL, LimitExceeded, "at most 4,096 latent values"),
        (encoding_of(np.zeros((4, 4_097)), 1.0), Mixture(components=1), LimitExceeded, "at most 4,096"),
        (encoding_of(np.random.default_rng(0).random((20, 2)), 0.1), Mixture(components=19), DataError, "19 .* for 18"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_is_refused_with_a_way_out(
    encoding: Encoding, family: Gaussian | Mixture, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        fitted(encoding, family)


def test_identical_rows_cannot_be_split() -> None:
    same = matched(100, 2)
    same.row_digests[:] = 7
    with pytest.raises(DataError, match="Only 1 of the 100 rows are different"):
        fitted(same, FULL)
    assert fitted(same, FULL, holdout=0.0).diagnostics["gain"] is None
