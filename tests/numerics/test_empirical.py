"""The empirical family: the posteriors of the rows themselves, drawn from and scored without touching them all."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from latentmill.errors import DataError, LimitExceeded
from latentmill.specs import Empirical, Gaussian
from tests.numerics.planted import encoding_of, fitted, shifted
from workers.posteriors import Encoding, LabelledDensity, density_of
from workers.posteriors import gain as gains
from workers.posteriors.empirical import EmpiricalDensity
from workers.posteriors.empirical_fit import refuse_too_large
from workers.posteriors.judging import judged_density
from workers.posteriors.split import split_rows
from workers.randomness import Stream, normals, uniforms


def bent(rows: int = 1_500, *, inert: int = 0) -> Encoding:
    """A ring in two dimensions with stds of its own for each row, and `inert` dimensions that hold the prior."""
    generator = np.random.default_rng(3)
    angle = generator.uniform(0, 2 * np.pi, rows)
    means = np.stack([2 * np.cos(angle), 2 * np.sin(angle)], axis=1)
    std = generator.uniform(0.1, 0.5, (rows, 2))
    idle = 1e-3 * generator.standard_normal((rows, inert))
    return encoding_of(np.concatenate([means, idle], axis=1), np.concatenate([std, np.full((rows, inert), 0.999)], 1))


def scipy_log_density(points: np.ndarray, means: np.ndarray, stds: np.ndarray) -> np.ndarray:
    joint = stats.norm.logpdf(points[:, None], means.astype(float), stds.astype(float)).sum(axis=2)
    result: np.ndarray = logsumexp(joint, axis=1) - np.log(len(means))
    return result


def test_it_keeps_the_rows_that_judge_nothing() -> None:
    encoding = bent()
    fit = fitted(encoding, Empirical())
    training = np.sort(split_rows(encoding.row_digests, None, seed=0, holdout=0.1).training)
    np.testing.assert_array_equal(fit.parameters["means"], encoding.mean[training])
    np.testing.assert_array_equal(fit.parameters["stds"], encoding.std[training])
    assert fit.parameters["means"].dtype == np.float32
    assert fit.diagnostics["rows_used"] == 1_350
    assert fit.family == Empirical()


def test_some_components_are_a_fair_part_of_them_and_a_bandwidth_widens_all() -> None:
    encoding = bent()
    few, other = (
        fitted(encoding, Empirical(components=200, bandwidth=2.0)),
        fitted(encoding, Empirical(components=200), seed=1),
    )
    assert few.parameters["means"].shape == (200, 2)
    assert few.diagnostics["rows_used"] == 200
    held = encoding.mean[split_rows(encoding.row_digests, None, seed=0, holdout=0.1).holdout]
    kept = {row.tobytes() for row in few.parameters["means"]}
    assert not kept & {row.tobytes() for row in held}
    assert len(kept & {row.tobytes() for row in other.parameters["means"]}) < 80  # 30 expected
    place = [int(np.flatnonzero((encoding.mean == row).all(axis=1))[0]) for row in few.parameters["means"]]
    np.testing.assert_allclose(few.parameters["stds"], 2 * encoding.std[place], rtol=1e-6)


@pytest.mark.parametrize("inert", [0, 2])
def test_log_density_agrees_with_scipy_and_with_the_held_out_numbers(inert: int) -> None:
    encoding = bent(400, inert=inert)
    fit = fitted(encoding, Empirical())
    assert fit.diagnostics["inert_dimensions"] == list(range(2, 2 + inert))
    means, stds = fit.parameters["means"], fit.parameters["stds"]
    np.testing.assert_array_equal(means[:, 2:], 0.0)
    np.testing.assert_array_equal(stds[:, 2:], 1.0)
    points = 2 * np.random.default_rng(0).standard_normal((100, 2 + inert))
    ours = density_of(fit.family, fit.parameters).log_density(points)
    np.testing.assert_allclose(ours, scipy_log_density(points, means, stds), rtol=1e-9, atol=1e-9)
    holdout = split_rows(encoding.row_digests, None, seed=0, holdout=0.1).holdout
    noise = normals(0, Stream.HOLDOUT_DRAWS, 0, 40, 4 * (2 + inert)).reshape(40, 4, 2 + inert)
    draws = encoding.mean[holdout].astype(float)[:, None] + encoding.std[holdout].astype(float)[:, None] * noise
    expected = -scipy_log_density(draws.reshape(160, -1), means, stds).mean()
    assert fit.diagnostics["holdout_nll"] == pytest.approx(expected, rel=1e-9)


def test_a_narrow_std_is_scored_without_cancelling() -> None:
    generator = np.random.default_rng(1)
    means = 30 + generator.standard_normal((300, 3))
    encoding = encoding_of(means, 1e-4)
    points = np.asarray(encoding.mean[:50], dtype=float) + 1e-4 * generator.standard_normal((50, 3))
    density = EmpiricalDensity(encoding.mean, encoding.std)
    np.testing.assert_allclose(
        density.log_density(points), scipy_log_density(points, encoding.mean, encoding.std), rtol=1e-7
    )


@pytest.mark.parametrize("inert", [0, 2])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_draws_follow_the_density(inert: int, temperature: float) -> None:
    """Kolmogorov-Smirnov along 6 directions against the exact law; false alarm 1e-3 in all (Bonferroni)."""
    fit = fitted(bent(600, inert=inert), Empirical(bandwidth=1.5))
    density = density_of(fit.family, fit.parameters)
    size = 2 + inert
    drawn = density.draw(
        normals(1, Stream.LATENTS, 0, 20_000, size), uniforms(1, Stream.CHOICES, 0, 20_000), temperature
    )
    means, stds = fit.parameters["means"].astype(float), fit.parameters["stds"].astype(float)
    for direction in np.random.default_rng(7).standard_normal((6, size)):
        centres, widths = means @ direction, temperature * np.sqrt(stds**2 @ direction**2)
        grid = np.linspace(-12, 12, 2_001)
        law = stats.norm.cdf(grid[:, None], centres, widths).mean(axis=1)

        def cumulated(values: np.ndarray, grid: np.ndarray = grid, law: np.ndarray = law) -> np.ndarray:
            return np.interp(values, grid, law)

        assert stats.kstest(drawn @ direction, cumulated).pvalue > 1e-3 / 6


def test_a_draw_reads_the_chosen_components_alone() -> None:
    """A million components: a block of draws costs what its rows cost; the last uniform chooses the last one."""
    means = np.broadcast_to(np.arange(10**6, dtype=np.float32)[:, None], (10**6, 1))
    density = EmpiricalDensity(means, np.broadcast_to(np.float32(0.25), (10**6, 1)))
    drawn = density.draw(np.ones((3, 1)), np.array([0.0, 0.5, 1 - 2.0**-53]), 2.0)
    np.testing.assert_array_equal(drawn[:, 0], [0.5, 500_000.5, 999_999.5])


def test_very_many_components_are_judged_on_a_part_of_the_rows_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    encoding = bent()
    monkeypatch.setattr(gains, "MAX_COST", 4 * 1_350 * (2 + gains.EXPONENTIAL_COST) * 60)
    fit = fitted(encoding, Empirical())
    assert any("Judged on 60 of the 150 held-out rows" in warning for warning in fit.warnings)
    holdout = split_rows(encoding.row_digests, None, seed=0, holdout=0.1).holdout
    (scores,) = gains.row_log_densities(
        [density_of(fit.family, fit.parameters)], encoding, holdout,
        seed=0, stream=Stream.HOLDOUT_DRAWS, check=lambda: None,
    )  # fmt: skip
    assert np.isnan(scores[60:]).all()
    assert fit.diagnostics["holdout_nll"] == pytest.approx(-scores[:60].mean(), rel=1e-12)
    assert gains.scored_rows(density_of(Gaussian(), fitted(encoding, Gaussian()).parameters), 150) == 150


def test_by_label_it_keeps_the_rows_of_each_label() -> None:
    plain = bent()
    labels = (plain.mean[:, 0] > 0).astype(np.int32)
    encoding = Encoding(plain.mean, plain.std, labels, plain.row_digests, ("left", "right"))
    fit = fitted(encoding, Empirical(), by_label=True, conditional=True)
    assert (fit.parameters["label.left.means"][:, 0] <= 0).all()
    assert fit.diagnostics["label_information"]["value"] > 0.3
    density = density_of(fit.family, fit.parameters)
    assert isinstance(density, LabelledDensity)
    points = np.random.default_rng(0).standard_normal((50, 2))
    whole = fitted(encoding, Empirical())
    np.testing.assert_allclose(
        density.log_density(points), density_of(Empirical(), whole.parameters).log_density(points), rtol=1e-9
    )


def test_a_collapsed_model_gives_the_prior() -> None:
    fit = fitted(encoding_of(np.zeros((500, 3)), 1.0), Empirical())
    assert fit.family == Empirical(components=1)
    assert any("the fit is the prior" in warning for warning in fit.warnings)
    assert fit.diagnostics["gain"] == {"value": pytest.approx(0.0, abs=1e-12), "standard_error": pytest.approx(0.0)}


def test_what_it_cannot_do_is_refused_with_a_way_out() -> None:
    generator = np.random.default_rng(0)
    with pytest.raises(DataError, match=r"gives no std, .* gaussian, mixture or flow") as caught:
        fitted(encoding_of(generator.standard_normal((200, 2)), 0.0), Empirical())
    assert caught.value.errors[0].pointer == "/family/kind"
    partly = shifted(200)[0]
    partly.std[3, 1] = 0.0
    with pytest.raises(DataError, match="Some rows have a std of 0"):
        fitted(partly, Empirical())
    with pytest.raises(DataError, match=r'500 components for 180 rows .*"all"'):
        fitted(shifted(200)[0], Empirical(components=500))
    with pytest.raises(LimitExceeded, match=r'take "components": 8192 or fewer'):
        refuse_too_large(50_000, 16_384)


@pytest.mark.parametrize("by_label", [False, True])
def test_moments_of_all_rows_are_judged_by_their_twin(by_label: bool) -> None:
    """What a report scores in the place of a served Gaussian gives the fit's own held-out number."""
    plain = shifted(1_000)[0]
    labels = np.random.default_rng(0).integers(0, 2, 1_000).astype(np.int32)
    encoding = Encoding(plain.mean, plain.std, labels, plain.row_digests, ("a", "b"))
    fit = fitted(encoding, Gaussian(), by_label=by_label)
    split = split_rows(encoding.row_digests, labels, seed=0, holdout=0.1)
    served = density_of(fit.family, fit.parameters)
    twin = judged_density(encoding, split, fit.family, served, check=lambda: None)
    (scores,) = gains.row_log_densities(
        [twin], encoding, split.holdout, seed=0, stream=Stream.HOLDOUT_DRAWS, check=lambda: None
    )
    assert fit.diagnostics["holdout_nll"] == pytest.approx(-scores.mean(), rel=1e-12)
    assert judged_density(encoding, split, Empirical(), served, check=lambda: None) is served
