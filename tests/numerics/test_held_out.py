"""What is held out decides nothing, and the errors of what it says count identical rows once."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from latentmill.specs import Gaussian, Mixture
from tests.numerics.planted import encoding_of, fitted, matched
from tests.numerics.test_moments import shrinkage_by_loops
from workers.posteriors import Encoding, standard_normal
from workers.posteriors.draws import repeated_draws
from workers.posteriors.estimate import grouped_mean
from workers.posteriors.gain import paired_gain, row_log_densities
from workers.posteriors.gaussian import DiagonalGaussian
from workers.posteriors.mixture import mixture_density
from workers.posteriors.mixture_fit import fewest_within_error
from workers.posteriors.split import rows_of_share, split_rows
from workers.randomness import Stream, normals


def clustered(rows: int = 1_000) -> Encoding:
    """Three clusters in dimensions 0 and 2; dimensions 1 and 3 hold the prior and nothing else."""
    generator = np.random.default_rng(6)
    means = 0.01 * generator.standard_normal((rows, 4))
    means[:, [0, 2]] = np.array([[-2, 0], [1, 2], [1, -2]])[generator.integers(0, 3, rows)]
    return encoding_of(means, np.array([0.3, 0.99, 0.3, 0.99]))


@pytest.mark.parametrize("family", [Mixture(components=3), Mixture()])
def test_held_out_rows_change_nothing_but_the_judgement(family: Mixture) -> None:
    """Held-out rows far away in every dimension, those included that are inert for all others."""
    encoding = clustered(300)
    held = split_rows(encoding.row_digests, None, seed=0, holdout=0.1).holdout
    mean = encoding.mean.copy()
    mean[held] += np.float32(5)
    here, there = fitted(encoding, family), fitted(replace(encoding, mean=mean), family)
    assert here.diagnostics["inert_dimensions"] == there.diagnostics["inert_dimensions"] == [1, 3]
    assert here.family == there.family
    for name, array in here.parameters.items():
        np.testing.assert_array_equal(array, there.parameters[name])
    assert there.diagnostics["holdout_nll"] > here.diagnostics["holdout_nll"] + 10
    assert there.diagnostics["mean_kl"] > here.diagnostics["mean_kl"] + 1  # a rate is of all rows


def test_the_judged_twin_has_the_shrinkage_of_its_own_rows() -> None:
    generator = np.random.default_rng(4)
    encoding = encoding_of(generator.standard_normal((60, 8)) @ generator.standard_normal((8, 8)), 0.4)
    found = fitted(encoding, Gaussian(), holdout=0.5).diagnostics
    holdout = split_rows(encoding.row_digests, None, seed=0, holdout=0.5).holdout
    rest = np.setdiff1d(np.arange(60), holdout)
    mu, sigma = encoding.mean.astype(float), encoding.std.astype(float)
    own = shrinkage_by_loops(mu[rest])
    assert own > 1.2 * found["shrinkage"]  # that of all rows, which are served, is another
    between = np.cov(mu[rest].T, bias=True)
    covariance = (1 - own) * between + own * np.diag(np.diagonal(between)) + 0.16 * np.eye(8)
    noise = normals(0, Stream.HOLDOUT_DRAWS, 0, 30, 32).reshape(30, 4, 8)
    draws = mu[holdout][:, None] + sigma[holdout][:, None] * noise
    expected = stats.multivariate_normal(mu[rest].mean(axis=0), covariance).logpdf(draws).mean()
    assert found["holdout_nll"] == pytest.approx(-expected, rel=1e-6)


def test_dimensions_are_inert_for_the_standard_normal_prior_alone() -> None:
    prior = mixture_density({"weights": np.ones(1), "means": np.full((1, 4), 0.1), "variances": np.ones((1, 4))})
    fit = fitted(clustered(), Mixture(components=3), prior=prior)
    assert fit.diagnostics["inert_dimensions"] == []
    assert np.all(fit.parameters["covariances"][:, [1, 3], [1, 3]] != 1.0)


def test_errors_are_those_of_groups() -> None:
    """Copies of a row are no evidence: the error is that of the rows without them, n - 1 in the denominator."""
    generator = np.random.default_rng(0)
    values, baseline = generator.standard_normal((2, 40))
    alone = (values - baseline).std(ddof=1) / 40**0.5
    found = paired_gain(values.repeat(9), baseline.repeat(9), np.arange(40).repeat(9))
    assert found.value == pytest.approx((values - baseline).mean(), rel=1e-12)
    assert found.standard_error == pytest.approx(alone, rel=1e-12)
    groups = generator.permutation(np.repeat([5, 8, 2, 11], [1, 4, 20, 15]))
    total = sum(((values - values.mean())[groups == group].sum()) ** 2 for group in (5, 8, 2, 11))
    assert grouped_mean(values, groups).standard_error == pytest.approx((4 / 3 * total) ** 0.5 / 40, rel=1e-12)


def test_errors_of_gains_are_as_large_as_what_they_stand_for() -> None:
    """400 samples of 60 rows, each twice: the spread of gains is the stated error within 4 of its own errors (14 %)."""
    generator = np.random.default_rng(8)
    density, prior = DiagonalGaussian(np.full(2, 0.5), np.full(2, 1.5)), standard_normal(2)
    gains = []
    for seed in range(400):
        encoding = encoding_of((0.5 + generator.standard_normal((60, 2))).repeat(2, axis=0), 0.7)
        scores = row_log_densities(
            [density, prior], encoding, np.arange(120), seed=seed, stream=Stream.HOLDOUT_DRAWS, check=lambda: None
        )
        gains.append(paired_gain(*scores, np.arange(60).repeat(2)))
    stated = np.sqrt(np.mean([gain.standard_error**2 for gain in gains]))
    assert 0.86 < stated / np.std([gain.value for gain in gains]) < 1.16


def test_components_are_chosen_by_errors_of_groups() -> None:
    """10 rows, each 100 times, of which the second number of components is better by 1.5 errors of 1,000 rows."""
    noise = np.random.default_rng(1).standard_normal(10)
    noise = (noise - noise.mean()) / noise.std()
    better = (noise + 1.5 / 1_000**0.5).repeat(100)
    assert fewest_within_error([np.zeros(1_000), better], np.arange(10).repeat(100)) == 0
    assert fewest_within_error([np.zeros(1_000), better], np.arange(1_000)) == 1


def test_copies_of_few_rows_are_few_rows() -> None:
    encoding = matched(50, 2)
    copied = Encoding(*(array.repeat(100, axis=0) for array in (encoding.mean, encoding.std)), None,
                      encoding.row_digests.repeat(100, axis=0))  # fmt: skip
    fit = fitted(copied, Gaussian(), holdout=0.2)
    assert fit.diagnostics["holdout_rows"] == 1_000
    assert fit.warnings == ["Only 10 of the 1,000 held-out rows are different: the gain says little."]


@pytest.mark.parametrize(
    ("share", "rows", "count"),
    [(0.07, 100, 7), (0.14, 50, 7), (0.1, 1_797, 180), (0.1, 10, 1), (0.1, 11, 2), (0.0, 5, 0), (1e-7, 10, 1)],
)
def test_a_share_is_what_was_written_and_not_its_float(share: float, rows: int, count: int) -> None:
    assert rows_of_share(share, rows) == count


def test_active_units_have_a_scale_and_informative_ones_none() -> None:
    """By dimension: C 0.0025 and v 0.01; C 0.04 and v 9; C 0.0025 and v 1; in another scale the second two change."""
    normal = np.random.default_rng(3).standard_normal((2_000, 3))
    mean, std = normal * [0.05, 0.2, 0.05], np.array([0.1, 3.0, 1.0])
    for scale, active in ((1.0, 1), (10.0, 3), (0.1, 0)):
        diagnostics = fitted(encoding_of(scale * mean, scale * std), Gaussian(covariance="diagonal")).diagnostics
        assert diagnostics["informative_units"] == 1
        assert diagnostics["active_units"] == active


def test_draws_around_later_rows_have_noise_of_their_own() -> None:
    """1,025 dimensions are read in steps of 512 rows: 600 rows take two."""
    encoding = encoding_of(np.zeros((600, 1_025)), 1.0)
    blocks = repeated_draws(encoding, np.arange(600), seed=2, stream=Stream.HOLDOUT_DRAWS, copies=4)
    ends, drawn = zip(*((rows.stop, latents[:, 3, -1]) for rows, latents, _ in blocks), strict=True)
    assert ends == (512, 600)
    expected = normals(2, Stream.HOLDOUT_DRAWS, 0, 600, 4_100)[:, -1]
    np.testing.assert_array_equal(np.concatenate(drawn), expected)
