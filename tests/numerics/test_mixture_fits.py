"""Mixtures: a planted one is found again, tune rows choose how many components, every copy of a row is fresh."""

import tracemalloc

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from latentmill.errors import DataError, LimitExceeded
from latentmill.specs import Empirical, Gaussian, Mixture
from tests.numerics.planted import encoding_of, fitted, matched, shifted
from workers.posteriors import Encoding, density_of
from workers.posteriors.draws import training_draws
from workers.posteriors.em import first_centres
from workers.posteriors.mixture_fit import draw_count, fewest_within_error, past_the_best
from workers.randomness import Stream, normals

WEIGHTS = np.array([0.2, 0.3, 0.5])
MEANS = np.array([[-400.0, 0.0, 0.02], [300.0, 2.0, 0.0], [300.0, -2.0, -0.02]])
ROOTS = np.array(
    [np.diag([60.0, 0.3, 0.004]), [[80.0, 0, 0], [0.5, 0.4, 0], [0.004, 0, 0.003]], np.diag([50, 0.5, 0.002])]
)
NOISE = np.array([20.0, 0.2, 0.001])  # latents of very different scales: fitted standardised, given back in their own


def planted(rows: int) -> Encoding:
    generator = np.random.default_rng(3)
    chosen = generator.choice(3, rows, p=WEIGHTS)
    means = MEANS[chosen] + np.einsum("nij,nj->ni", ROOTS[chosen], generator.standard_normal((rows, 3)))
    return encoding_of(means, NOISE)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_a_planted_mixture_is_recovered(covariance: str) -> None:
    fit = fitted(planted(20_000), Mixture(components=3, covariance=covariance))
    order = np.argsort(fit.parameters["means"] @ [1.0, 100.0, 0.0])
    true = np.argsort(MEANS @ [1.0, 100.0, 0.0])
    covariances = ROOTS @ ROOTS.transpose(0, 2, 1) + np.diag(NOISE**2)
    width = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))[true]
    np.testing.assert_allclose(fit.parameters["weights"][order], WEIGHTS[true], atol=0.015)
    assert np.abs((fit.parameters["means"][order] - MEANS[true]) / width).max() < 0.08
    if covariance == "full":
        scale = width[:, :, None] * width[:, None, :]
        assert np.abs((fit.parameters["covariances"][order] - covariances[true]) / scale).max() < 0.1
    else:
        assert np.abs(fit.parameters["variances"][order] / width**2 - 1).max() < 0.1
    assert fit.diagnostics["rows_used"] == 18_000
    assert fit.warnings == []


def test_auto_finds_the_number_that_was_planted_and_no_more() -> None:
    generator = np.random.default_rng(5)
    means = 6 * generator.standard_normal((4, 3))[generator.integers(0, 4, 3_000)] + generator.standard_normal(
        (3_000, 3)
    )
    fit = fitted(encoding_of(means, 0.4), Mixture())
    assert fit.family == Mixture(components=4)
    assert fit.diagnostics["rows_used"] == 3_000 - 300 - 270
    assert fitted(shifted(3_000)[0], Mixture()).family == Mixture(components=1)


def test_auto_leaves_ten_rows_to_a_component_and_two_to_a_dimension_of_each() -> None:
    """Six clusters that each would like a component of their own."""
    generator = np.random.default_rng(5)

    def chosen(rows: int, size: int, covariance: str) -> int:
        centres = 8 * generator.standard_normal((6, size))
        means = centres[generator.integers(0, 6, rows)] + 0.5 * generator.standard_normal((rows, size))
        family = fitted(encoding_of(means, 0.4), Mixture(covariance=covariance)).family
        assert isinstance(family, Mixture)
        assert isinstance(family.components, int)
        return family.components

    assert chosen(30, 3, "full") == 2  # 24 rows to fit on
    assert chosen(60, 3, "full") == 4  # 48
    assert chosen(60, 20, "full") == 1
    assert chosen(60, 20, "diagonal") == 4


def test_auto_does_not_follow_few_rows_of_one_gaussian() -> None:
    """Seven draws of 60 to 200 rows: what more components cost on average is below 0.1 nats."""
    lost = []
    for seed in range(7):
        encoding, mean, covariance = shifted(60 + 20 * seed, seed=seed)
        points = np.random.default_rng(seed).multivariate_normal(mean, covariance, 2_000)
        auto, one = (fitted(encoding, Mixture(components=number), seed=seed) for number in ("auto", 1))
        scores = [density_of(fit.family, fit.parameters).log_density(points).mean() for fit in (auto, one)]
        lost.append(scores[1] - scores[0])
    assert np.mean(lost) < 0.1


def test_full_covariances_of_too_few_rows_are_refused() -> None:
    encoding = encoding_of(np.random.default_rng(0).standard_normal((30, 20)), 0.3)
    for family, count in ((Mixture(components=1), 1), (Mixture(components=2), 2), (Mixture(), 1)):
        with pytest.raises(DataError, match=rf'{count} full covariances of 20 .* {40 * count} rows .*"diagonal"'):
            fitted(encoding, family)
    diagonal = fitted(encoding, Mixture(covariance="diagonal"))
    assert diagonal.family == Mixture(components=1, covariance="diagonal")


@pytest.mark.full
def test_spatial_latents_take_diagonal_covariances_in_bounded_memory() -> None:
    """4 x 64 x 64: what is full is refused, what is diagonal is fitted, and so are the rows themselves."""
    generator = np.random.default_rng(0)
    means = (0.5 * generator.standard_normal((120, 1)) + 0.3 * generator.standard_normal((120, 16_384))).astype(
        np.float32
    )
    encoding = encoding_of(means, 0.5)
    for family in (Gaussian(), Mixture(components=2)):
        with pytest.raises(LimitExceeded, match=r"at most 4,096 latent values, not 16,384; .*diagonal"):
            fitted(encoding, family)
    diagonal = Gaussian(covariance="diagonal")
    tracemalloc.start()
    try:
        for family in (diagonal, Mixture(components=2, covariance="diagonal"), Empirical()):
            fit = fitted(encoding, family)
            assert fit.diagnostics["gain"]["value"] > 1_000
            assert density_of(fit.family, fit.parameters).latent_size == 16_384
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**30


def test_em_goes_on_until_it_rests() -> None:
    """Two components with one centre, which no clustering tells apart: their own density is reached within 0.01."""
    generator = np.random.default_rng(7)
    narrow = generator.random(6_000) < 0.5
    means = generator.standard_normal((6_000, 2)) * np.where(narrow, 0.2, 3.0)[:, None]
    encoding = encoding_of(means, 0.1)
    true = {"weights": np.full(2, 0.5), "means": np.zeros((2, 2)), "variances": np.array([[0.05] * 2, [9.01] * 2])}
    truth = density_of(Mixture(components=2), true)
    fit = fitted(encoding, Mixture(components=2), prior=truth)
    assert abs(fit.diagnostics["gain"]["value"]) < 0.01
    assert np.sort(fit.parameters["weights"]) == pytest.approx([0.5, 0.5], abs=0.03)


def test_our_start_is_no_worse_than_scikit_learns_own() -> None:
    generator = np.random.default_rng(9)
    means = 2 * generator.standard_normal((12, 4))[generator.integers(0, 12, 4_000)]
    encoding = encoding_of(means + 0.3 * generator.standard_normal((4_000, 4)), 0.3)
    ours = fitted(encoding, Mixture(components=12), holdout=0.1)
    training = np.random.default_rng(0).permutation(4_000)[:3_600]
    draws = encoding.mean[training].repeat(6, axis=0) + 0.3 * generator.standard_normal((21_600, 4))
    theirs = GaussianMixture(12, random_state=0).fit(draws)
    assert -ours.diagnostics["holdout_nll"] > theirs.score(draws) - 0.1


def test_a_mixture_of_one_is_the_gaussian_of_its_draws() -> None:
    encoding, *_ = shifted(5_000)
    mixture, gaussian = fitted(encoding, Mixture(components=1)), fitted(encoding, Gaussian())
    assert mixture.diagnostics["gain"]["value"] == pytest.approx(gaussian.diagnostics["gain"]["value"], abs=0.01)


def test_no_two_copies_of_a_row_share_their_noise() -> None:
    encoding = encoding_of(np.zeros((7, 2)), 1.0)
    draws = training_draws(encoding, np.arange(7), np.arange(2), 7 * 300, seed=1)
    assert len(np.unique(draws)) == draws.size
    np.testing.assert_array_equal(draws, normals(1, Stream.FIT_DRAWS, 0, 7 * 300, 2))  # no job draws these
    wide = training_draws(encoding_of(np.zeros((7, 4_096)), 1.0), np.arange(7), np.arange(1), 1_100, seed=1)
    np.testing.assert_array_equal(wide, normals(1, Stream.FIT_DRAWS, 0, 1_100, 4_096)[:, :1])  # in more than one step
    one = training_draws(encoding, np.arange(7), np.array([1]), 7 * 300, seed=1)
    np.testing.assert_array_equal(one[:, 0], draws[:, 1])


@pytest.mark.parametrize(
    ("rows", "width", "count"),
    [
        (1_167, 8, 1_167 * 18),
        (20_000, 8, 20_000),
        (54_000, 10, 54_000),
        (2_000_000, 10, 200_000),
        (7, 1, 7 * 2_858),
        (500, 2**17, 256),
    ],
)
def test_draws_are_whole_copies_within_bounds(rows: int, width: int, count: int) -> None:
    assert draw_count(rows, width) == count


def test_the_fewest_components_within_one_paired_error_win() -> None:
    noise = np.random.default_rng(0).standard_normal(400)
    groups = np.arange(400)
    scores = [noise - 0.5, noise + 0.001 * np.roll(noise, 1) - 1e-5, noise]
    assert fewest_within_error(scores, groups) == 1  # unpaired errors of 0.05 would not tell; the first is far worse
    assert fewest_within_error([noise, noise], groups) == 0
    assert fewest_within_error([noise - 0.5, noise], np.zeros(400, dtype=int)) == 1  # one group: no error is known


def test_two_numbers_of_components_in_a_row_that_are_no_better_end_the_search() -> None:
    scores = [np.full(5, value) for value in (1.0, 2.0, 1.9, 2.0, 2.1)]
    assert [past_the_best(scores[:count]) for count in range(1, 6)] == [False, False, False, True, False]


def test_centres_are_those_of_separate_clusters_and_the_first_serve_fewer() -> None:
    corners = 100.0 * np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    points = np.repeat(corners, 50, axis=0) + np.random.default_rng(0).standard_normal((200, 2))
    centres = first_centres(points, 4, seed=2)
    assert sorted(map(tuple, np.rint(centres / 100).tolist())) == sorted(map(tuple, (corners / 100).tolist()))
    np.testing.assert_array_equal(first_centres(points, 2, seed=2), centres[:2])
    same = first_centres(np.zeros((5, 2)), 3, seed=0)  # fewer different points than centres
    np.testing.assert_array_equal(same, 0.0)


def test_covariances_beyond_memory_are_refused() -> None:
    with pytest.raises(LimitExceeded, match="300 full covariances of 512"):
        fitted(matched(400, 512), Mixture(components=300))
