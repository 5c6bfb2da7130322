"""What latents tell of their rows, and leave-one-out: against loops with SciPy, and channels of known capacity."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from tests.numerics.planted import encoding_of, matched
from workers.posteriors import Encoding, standard_normal
from workers.posteriors.estimate import Estimate
from workers.posteriors.information import Information, information_of
from workers.randomness import Stream, normals, permuted_position


def measured(encoding: Encoding, groups: np.ndarray | None = None, seed: int = 0) -> Information:
    """Rows of one group are identical, as their digests say."""
    if groups is not None:
        encoding = replace(encoding, row_digests=encoding.row_digests[groups])
    prior = standard_normal(encoding.latent_size)
    return information_of(encoding, np.arange(encoding.rows), prior, seed=seed, check=lambda: None)


def off(found: Estimate | None, truth: float) -> float:
    """In standard errors."""
    assert found is not None
    return abs(found.value - truth) / found.standard_error


def test_information_and_leave_one_out_are_those_of_loops() -> None:
    """30 rows in 18 groups; the draws again from the streams, the densities from SciPy, whole groups left out."""
    generator = np.random.default_rng(0)
    encoding = encoding_of(generator.standard_normal((30, 3)), np.exp(generator.standard_normal((30, 3))))
    groups = generator.permutation(np.repeat(np.arange(18), [5, 4, 3, 2, 2, *[1] * 12, 2]))
    mu, sigma = encoding.mean.astype(float), encoding.std.astype(float)
    chosen = permuted_position(9, Stream.INFORMATION_ROWS, 30, np.arange(30))
    draws = mu[chosen] + sigma[chosen] * normals(9, Stream.INFORMATION_DRAWS, 0, 30, 3)
    told, left_out = np.empty((2, 30))
    for number, (row, z) in enumerate(zip(chosen, draws, strict=True)):
        each = stats.norm(mu, sigma).logpdf(z).sum(axis=1)
        others = groups != groups[row]
        told[number] = each[row] - logsumexp(each) + np.log(30)
        left_out[number] = logsumexp(each[others]) - np.log(others.sum()) - stats.norm.logpdf(z).sum()
    found = measured(encoding, groups, seed=9)
    assert found.index_code is not None
    assert found.leave_one_out is not None
    assert found.index_code.value == pytest.approx(told.mean(), rel=1e-10)
    assert found.leave_one_out.value == pytest.approx(left_out.mean(), rel=1e-10)
    sums = np.bincount(groups[chosen], weights=told - told.mean())
    assert found.index_code.standard_error == pytest.approx(np.sqrt(18 / 17 * (sums @ sums)) / 30, rel=1e-9)


@pytest.mark.parametrize(("signal", "noise"), [(4.0, 1.0), (1.0, 0.25), (0.01, 1.0)])
def test_a_gaussian_channel_has_its_capacity_and_both_bounds_meet(signal: float, noise: float) -> None:
    """I = 1/2 ln(1 + S/N); R = I + KL with KL in closed form; leave-one-out meets it: each within 4 errors."""
    means = np.sqrt(signal) * np.random.default_rng(1).standard_normal((20_000, 1))
    found = measured(encoding_of(means, np.sqrt(noise)))
    variance = signal + noise
    divergence = 0.5 * (variance - 1 - np.log(variance))
    rate = 0.5 * (variance - 1 - np.log(noise))
    capacity = 0.5 * np.log1p(signal / noise)
    assert rate == pytest.approx(capacity + divergence)
    assert off(found.index_code, capacity) < 4
    assert off(found.leave_one_out, divergence) < 4
    assert not found.saturated


def test_errors_are_as_large_as_what_they_stand_for() -> None:
    """400 data sets of a channel: the spread of estimates is the stated error within 4 of its own errors (14 %)."""
    generator = np.random.default_rng(2)
    found = [measured(encoding_of(2.0 * generator.standard_normal((300, 1)), 1.0), seed=seed) for seed in range(400)]
    for values in ([f.index_code for f in found], [f.leave_one_out for f in found]):
        spread = np.std([value.value for value in values if value is not None])
        stated = np.sqrt(np.mean([value.standard_error**2 for value in values if value is not None]))
        assert 0.86 < stated / spread < 1.16


def test_rows_that_are_told_apart_have_ln_n_and_clusters_of_copies_ln_k() -> None:
    apart = measured(encoding_of(np.arange(300.0)[:, None] * 100, 1.0))
    assert apart.index_code == Estimate(pytest.approx(np.log(300)), pytest.approx(0, abs=1e-9))
    assert apart.saturated
    clusters = measured(encoding_of(np.arange(8.0).repeat(250)[:, None] * 100, 1.0))
    assert clusters.index_code is not None
    assert clusters.index_code.value == pytest.approx(np.log(8))
    assert not clusters.saturated


def test_a_copy_left_in_would_be_the_row_itself() -> None:
    """Each row twice: knowing the groups leave-one-out stays below the truth, 0; without them it claims nats."""
    encoding = matched(500, 8)
    copied = encoding_of(encoding.mean.repeat(2, axis=0), np.sqrt(0.05))
    known, unknown = measured(copied, np.arange(500).repeat(2)), measured(copied)
    assert known.leave_one_out is not None
    assert unknown.leave_one_out is not None
    assert known.leave_one_out.value < 0
    assert unknown.leave_one_out.value > 1


@pytest.mark.parametrize("rows", [1_000, 20_000])
def test_an_informative_matched_encoder_saturates(rows: int) -> None:
    """KL(q || p) = 0, yet R - I is nats: what numerics warn of."""
    found = measured(matched(rows, 10))
    assert found.index_code is not None
    assert found.ceiling == pytest.approx(np.log(rows))
    assert found.saturated
    assert -5 * np.log(0.05) - found.index_code.value > 4


def test_without_noise_the_information_is_the_entropy_of_the_codes() -> None:
    distinct = measured(encoding_of(np.random.default_rng(3).standard_normal((400, 2)), 0.0))
    assert distinct == Information(Estimate(pytest.approx(np.log(400)), 0.0), pytest.approx(np.log(400)), None)
    halves = measured(encoding_of(np.arange(400)[:, None] % 2 * 1.0, 0.0))
    assert halves.index_code == Estimate(pytest.approx(np.log(2)), 0.0)
    std = np.ones((400, 2))
    std[7, 1] = 0.0
    assert measured(encoding_of(np.zeros((400, 2)), std)) == Information(None, pytest.approx(np.log(400)), None)


def test_copies_of_one_row_leave_nothing_out() -> None:
    found = measured(encoding_of(np.zeros((50, 2)), 1.0), np.zeros(50, dtype=np.int64))
    assert found.leave_one_out is None
    assert found.index_code is not None
    assert found.index_code.value == pytest.approx(0, abs=1e-12)
