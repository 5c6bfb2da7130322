"""The classifier two-sample test: its error against a direct computation, its size, and what it sees."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from workers.diagnostics.discriminants import linear_scores, quadratic_scores
from workers.diagnostics.two_sample import area_under_curve, classifier_two_sample

Pair = tuple[np.ndarray, np.ndarray]


def delong(positive: np.ndarray, negative: np.ndarray) -> tuple[float, float]:
    """The AUC and its error from all pairs, as DeLong, DeLong and Clarke-Pearson (1988) write it."""
    wins = np.array([[1.0 if a > b else 0.5 if a == b else 0.0 for b in negative] for a in positive])
    of_positive, of_negative = wins.mean(axis=1), wins.mean(axis=0)
    variance = of_positive.var(ddof=1) / len(positive) + of_negative.var(ddof=1) / len(negative)
    return float(wins.mean()), float(variance**0.5)


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_area_and_error_agree_with_all_pairs(decimals: int) -> None:
    generator = np.random.default_rng(decimals)
    positive, negative = generator.standard_normal(70) + 0.6, generator.standard_normal(50)
    positive, negative = positive.round(decimals), negative.round(decimals)  # with ties, many of them
    found = area_under_curve(positive, negative)
    assert (found.value, found.standard_error) == pytest.approx(delong(positive, negative), rel=1e-10)
    marks = np.r_[np.ones(70), np.zeros(50)]
    assert found.value == pytest.approx(roc_auc_score(marks, np.r_[positive, negative]))


def test_the_delong_error_is_the_deviation_of_the_area() -> None:
    generator = np.random.default_rng(1)
    found = [area_under_curve(generator.standard_normal(60) + 0.7, generator.standard_normal(60)) for _ in range(500)]
    values = np.array([each.value for each in found])
    assert np.mean([each.standard_error for each in found]) == pytest.approx(values.std(), rel=0.1)


def null(n: int, size: int, seed: int) -> Pair:
    x, y = np.random.default_rng(seed).standard_normal((2, n, size))
    return x, y


def false_alarms(n: int, size: int, repeats: int) -> tuple[int, float, float]:
    """How often equal laws are 1.96 errors from 0.5, the mean AUC, and the true deviation over the stated error."""
    found = [classifier_two_sample(*null(n, size, seed), seed=seed) for seed in range(repeats)]
    values, errors = (np.array([getattr(each, name) for each in found]) for name in ("value", "standard_error"))
    return int((np.abs(values - 0.5) > 1.96 * errors).sum()), float(values.mean()), float(values.std() / errors.mean())


def test_equal_laws_are_seldom_told_apart() -> None:
    """10 samples: at a false-alarm rate of 5 % more than 3 alarms have a chance of 0.1 %; seeds are fixed."""
    alarms, mean, _ = false_alarms(60, 3, 10)
    assert alarms <= 3
    assert mean == pytest.approx(0.5, abs=0.06)


@pytest.mark.full
@pytest.mark.parametrize(("n", "size"), [(100, 4), (400, 20)])
def test_equal_laws_are_seldom_told_apart_in_long_runs(n: int, size: int) -> None:
    """150 samples: at 5 % more than 16 alarms have a chance of 0.2 %; the stated error is true within 30 %."""
    alarms, mean, ratio = false_alarms(n, size, 150)
    assert alarms <= 16
    assert mean == pytest.approx(0.5, abs=4 * 0.05 / 150**0.5 + 0.005)
    assert 0.7 < ratio < 1.3


def shift(n: int) -> Pair:
    x, y = null(n, 8, 1)
    return x, y + np.eye(8)[0] * 0.7


def faint_shift(n: int) -> Pair:
    """Every feature moves by a little."""
    x, y = null(n, 16, 1)
    return x, y + 0.2


def variance(n: int) -> Pair:
    x, y = null(n, 8, 2)
    return x, y * 1.25


def correlation_sign(n: int) -> Pair:
    x, y = null(n, 8, 3)
    x[:, 1] += 0.7 * x[:, 0]
    y[:, 1] -= 0.7 * y[:, 0]
    return x, y


def faint_correlations(n: int) -> Pair:
    """Sixteen features that share a factor, or do not: no single pair shows much."""
    x, y = null(n, 16, 4)
    common = np.random.default_rng(5).standard_normal((n, 1))
    return x, 0.5 * common + 0.75**0.5 * y


def clusters_or_one_gaussian(n: int) -> Pair:
    """Equal means, variances and correlations: no quadratic form sees it."""
    generator = np.random.default_rng(6)
    centres = generator.standard_normal((6, 4))
    x = centres[generator.integers(0, 6, n)] + 0.2 * generator.standard_normal((n, 4))
    return x, x.mean(axis=0) + generator.standard_normal((n, 4)) @ np.linalg.cholesky(np.cov(x.T)).T


def small_features(n: int) -> Pair:
    """What differs has a hundredth of the variance of the rest."""
    x, y = null(n, 8, 7)
    x[:, 6:] *= 0.1
    y[:, 6:] *= 0.06
    return x, y


@pytest.mark.parametrize(
    ("planted", "least"),
    [
        (shift, 0.62),
        (faint_shift, 0.60),
        (variance, 0.57),
        (correlation_sign, 0.70),
        (faint_correlations, 0.62),
        (clusters_or_one_gaussian, 0.85),
        (small_features, 0.65),
    ],
)
def test_planted_differences_are_seen(planted, least: float) -> None:
    x, y = planted(400)
    found = classifier_two_sample(x, y, seed=0)
    assert found.value > least
    assert found.value - 0.5 > 4 * found.standard_error
    assert found.standard_error < 0.03


def test_the_value_is_the_same_for_the_same_seed_and_near_for_another() -> None:
    x, y = shift(200)
    found = classifier_two_sample(x, y, seed=3)
    assert classifier_two_sample(x, y, seed=3) == found
    other = classifier_two_sample(x, y, seed=4)
    assert other.value != found.value
    assert abs(other.value - found.value) < 4 * found.standard_error


def test_the_order_of_rows_tells_nothing() -> None:
    """Rows by cluster, as some samplers give them: halves by position would hold different clusters."""
    generator = np.random.default_rng(8)
    centres = np.repeat(np.arange(8.0)[:, None] * 5.0, 25, axis=0)
    x, y = centres + generator.standard_normal((2, 200, 1))
    found = classifier_two_sample(x, y, seed=0)
    assert abs(found.value - 0.5) < 3 * found.standard_error


def test_rows_that_are_all_the_same_are_not_told_apart() -> None:
    found = classifier_two_sample(np.ones((20, 3)), np.ones((20, 3)), seed=0)
    assert found.value == 0.5
    apart = classifier_two_sample(np.ones((60, 3)), np.zeros((60, 3)), seed=0)
    assert apart.value == 1.0
    with pytest.raises(ValueError, match="at least 8"):
        classifier_two_sample(np.zeros((7, 2)), np.zeros((7, 2)), seed=0)


def products(a: np.ndarray) -> np.ndarray:
    return np.column_stack([np.minimum(a**2, 25), a[:, 0] * a[:, 1], a[:, 0] * a[:, 2], a[:, 1] * a[:, 2]])


@pytest.mark.parametrize(("scores", "terms"), [(linear_scores, lambda z: z), (quadratic_scores, products)])
def test_discriminants_are_the_ridge_regressions_they_say(scores, terms) -> None:
    generator = np.random.default_rng(9)
    x, y = generator.standard_normal((120, 3)) * 3 + 1, generator.standard_normal((30, 3))
    first = generator.random(120) < 0.4
    z, judged = ((rows - x.mean(axis=0)) / x.std(axis=0) for rows in (x, y))
    ridge = Ridge(alpha=0.1 * 120).fit(terms(z), first.astype(float))
    expected = ridge.predict(terms(judged)) - first.mean()
    np.testing.assert_allclose(scores(x, first, y), expected, atol=1e-9)
