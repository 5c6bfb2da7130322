"""Frechet and sliced Wasserstein distances: against independent computations, and intervals that cover the truth."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import wasserstein_distance

from workers.diagnostics.bootstrap import RESAMPLES, basic_interval, resampled_counts
from workers.diagnostics.frechet import frechet, frechet_distance
from workers.diagnostics.sliced import sliced_wasserstein, unit_directions
from workers.posteriors.estimate import Interval


def moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return rows.mean(axis=0), np.atleast_2d(np.cov(rows.T))


def by_sqrtm(x: np.ndarray, y: np.ndarray) -> float:
    (m, s), (other_m, other_s) = moments(x), moments(y)
    return float(((m - other_m) ** 2).sum() + np.trace(s + other_s - 2 * sqrtm(s @ other_s).real))


def samples(n: int, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    x, y = generator.standard_normal((2, n, size))
    return 7.0 + x @ generator.standard_normal((size, size)), 6.0 + y @ generator.standard_normal((size, size))


@pytest.mark.parametrize("size", [1, 5, 40])
def test_frechet_agrees_with_the_matrix_square_root(size: int) -> None:
    x, y = samples(300, size)
    assert frechet(moments(x), moments(y)) == pytest.approx(by_sqrtm(x, y), rel=1e-8)


def test_frechet_of_singular_covariances() -> None:
    """A feature that never changes in one sample: diagonal covariances, so that the answer is a sum over features."""
    zero, other = np.diag([2.0, 0.0, 1.0]), np.diag([1.0, 3.0, 0.0])
    expected = (2**0.5 - 1) ** 2 + 3.0 + 1.0
    assert frechet((np.zeros(3), zero), (np.zeros(3), other)) == pytest.approx(expected)
    assert frechet((np.zeros(3), other), (np.ones(3), zero)) == pytest.approx(expected + 3.0)


def test_both_intervals_are_basic_bootstraps_of_what_resampled_rows_give() -> None:
    """Rows repeated as often as they were chosen, and every distance by another way."""
    x, y = samples(60, 3)
    directions = unit_directions(3)
    assert np.linalg.norm(directions, axis=1) == pytest.approx(np.ones(128))

    def sliced(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.mean((np.sort(a @ directions.T, axis=0) - np.sort(b @ directions.T, axis=0)) ** 2))

    chosen = list(resampled_counts(60, 60, seed=4))
    assert len(chosen) == RESAMPLES
    repeated = [
        tuple(np.repeat(z, c.astype(int), axis=0) for z, c in zip((x, y), pair, strict=True)) for pair in chosen
    ]
    for measure, function in ((by_sqrtm, frechet_distance), (sliced, sliced_wasserstein)):
        expected = basic_interval(measure(x, y), [measure(a, b) for a, b in repeated])
        found = function(x, y, seed=4)
        assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))
        assert function(x, y, seed=4) == found
        assert function(x, y, seed=5).value != found.value


def test_resamples_choose_both_samples_anew_and_independently() -> None:
    pairs = list(resampled_counts(50, 80, seed=1))
    assert all(x.sum() == 50 and y.sum() == 80 for x, y in pairs)
    first = np.array([x for x, _ in pairs])
    assert first.mean(axis=0) == pytest.approx(np.ones(50), abs=0.4)
    assert abs(np.corrcoef(first[:-1].ravel(), first[1:].ravel())[0, 1]) < 0.04
    x, y = (np.array(counts) for counts in zip(*resampled_counts(50, 50, seed=2), strict=True))
    assert abs(np.corrcoef(x.ravel(), y.ravel())[0, 1]) < 0.04


def test_the_basic_interval_turns_the_resampled_round() -> None:
    resampled = list(np.linspace(10.0, 14.0, 201))
    assert basic_interval(10.5, resampled) == Interval(
        pytest.approx(9.0), pytest.approx(21.0 - 13.9), pytest.approx(21.0 - 10.1)
    )
    assert Interval(1.0, 0.5, 1.5).as_json() == {"value": 1.0, "low": 0.5, "high": 1.5}


def test_sliced_distance_in_one_dimension_is_transport() -> None:
    """Where one sample is the other, moved, all mass goes the same way: W_2 = W_1 = the shift."""
    x = np.random.default_rng(6).standard_normal((400, 1))
    found = sliced_wasserstein(x + 1.5, x[::-1], seed=0)
    assert found.value == pytest.approx(wasserstein_distance(x[:, 0] + 1.5, x[:, 0]) ** 2, abs=0.05)
    assert found.low < 1.5**2 < found.high


def covered(size: int, n: int, repeats: int, shift: float, scale: float) -> dict[str, tuple[float, float]]:
    """By measure: the share of intervals that cover, and the bias in standard errors, for two Gaussians."""
    generator = np.random.default_rng(size)
    mean = np.zeros(size)
    mean[0] = shift
    truth = {
        "frechet": shift**2 + size * (scale - 1) ** 2,
        "sliced": float(((unit_directions(size) @ mean) ** 2).mean()) + (scale - 1) ** 2,
    }
    found: dict[str, list[Interval]] = {"frechet": [], "sliced": []}
    for seed in range(repeats):
        x, y = generator.standard_normal((2, n, size))
        x = mean + scale * x
        found["frechet"].append(frechet_distance(x, y, seed=seed))
        found["sliced"].append(sliced_wasserstein(x, y, seed=seed))
    result = {}
    for name, intervals in found.items():
        values = np.array([each.value for each in intervals])
        share = np.mean([each.low <= truth[name] <= each.high for each in intervals])
        result[name] = float(share), float((values.mean() - truth[name]) / (values.std() / repeats**0.5))
    return result


def test_intervals_cover_a_known_distance() -> None:
    """30 pairs of samples: with a coverage of 95 % fewer than 24 cover with a chance of 0.1 %; seeds are fixed."""
    for name, (share, bias) in covered(2, 60, 30, 0.8, 1.2).items():
        assert share >= 24 / 30, name
        assert abs(bias) < 4, name


@pytest.mark.full
@pytest.mark.parametrize(("size", "shift", "scale"), [(3, 0.8, 1.0), (3, 0.0, 1.0), (4, 0.5, 1.2), (20, 0.7, 1.1)])
def test_intervals_cover_known_distances_in_long_runs(size: int, shift: float, scale: float) -> None:
    """100 pairs of samples: with a coverage of 95 % fewer than 87 would cover with a chance of 0.05 %."""
    for name, (share, bias) in covered(size, 250, 100, shift, scale).items():
        assert share >= 87 / 100, name
        assert abs(bias) < 5, name


def test_equal_laws_are_at_no_distance_where_the_plain_value_is() -> None:
    """d = 20 at n = 200: the plain distance is about 2 for equal laws; corrected, it is about 0."""
    generator = np.random.default_rng(8)
    plain, corrected = [], []
    for seed in range(6):
        x, y = generator.standard_normal((2, 200, 20))
        plain.append(frechet(moments(x), moments(y)))
        corrected.append(frechet_distance(x, y, seed=seed))
    assert min(plain) > 1.0
    assert abs(np.mean([each.value for each in corrected])) < 0.3
    assert sum(each.low <= 0 <= each.high for each in corrected) >= 5


@pytest.mark.parametrize("measure", [frechet_distance, sliced_wasserstein])
def test_samples_of_unequal_size_are_refused(measure) -> None:
    with pytest.raises(ValueError, match="equally many"):
        measure(np.zeros((5, 2)), np.zeros((4, 2)), seed=0)
