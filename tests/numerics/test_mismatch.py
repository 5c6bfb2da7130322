"""The mismatch that every fit tells: brackets around known divergences, what does not exist, and labels."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from latentmill.specs import Gaussian, Mixture
from tests.numerics.planted import encoding_of, fitted, matched, shifted
from workers.posteriors import Encoding, EncodingWriter, open_encoding
from workers.posteriors.estimate import Estimate
from workers.posteriors.gaussian import DiagonalGaussian, FullGaussian, gaussian_kl
from workers.posteriors.mixture import GaussianMixture, mixture_density

CENTRES = np.array([[-2.0, 0.0], [1.0, 2.0], [1.0, -2.0]])


def clusters(rows: int = 8_000) -> Encoding:
    """q(z) is three normals of variance 0.2 in 2 dimensions; half of the variance is that of the posteriors."""
    generator = np.random.default_rng(5)
    means = CENTRES[generator.integers(0, 3, rows)] + np.sqrt(0.1) * generator.standard_normal((rows, 2))
    return encoding_of(means, np.sqrt(0.1))


def estimate(found: dict[str, Any]) -> Estimate:
    return Estimate(found["value"], found["standard_error"])


def assert_close(found: Estimate, truth: float, slack: float = 0.0) -> None:
    """Within 4 standard errors; slack is what the estimates of parameters cost."""
    assert abs(found.value - truth) <= 4 * found.standard_error + slack


@pytest.mark.parametrize("rows", [1_000, 60_000])
def test_an_informative_matched_encoder_is_called_matched(rows: int) -> None:
    """q = N(0, I): at least 0 within the error, though R - I is nats above, and says itself that it is saturated."""
    found = fitted(matched(rows, 10), Gaussian()).diagnostics
    bracket = found["marginal_kl"]
    assert bracket["value"] <= 2 * bracket["standard_error"] + 1e-3
    assert bracket["upper"] > 3
    assert bracket["upper"] == pytest.approx(found["mean_kl"] - found["index_code_mutual_information"]["value"])
    assert bracket["saturated"]
    assert found["index_code_ceiling"] == pytest.approx(np.log(min(50_000, 0.81 * rows)), abs=1e-9)
    assert all(0 <= entry["marginal_kl"] < 0.02 for entry in found["per_dimension"])


def test_both_ends_meet_the_divergence_of_a_shifted_encoder() -> None:
    encoding, mean, covariance = shifted(20_000, seed=1)
    truth = gaussian_kl(mean, covariance, DiagonalGaussian(np.zeros(4), np.ones(4)))
    found = fitted(encoding, Gaussian()).diagnostics
    bracket, information = found["marginal_kl"], estimate(found["index_code_mutual_information"])
    assert not bracket["saturated"]
    assert_close(estimate(bracket), truth)
    assert_close(Estimate(bracket["upper"], information.standard_error), truth)
    assert_close(estimate(found["gaussian_gain"]), truth)
    assert_close(estimate(found["negentropy"]), 0.0)


@pytest.mark.parametrize("family", [Mixture(components=3), Gaussian()])
def test_what_lies_beyond_the_moments_is_shown(family: Mixture | Gaussian) -> None:
    """KL(q || N(m, S)) of three clusters by 200,000 draws; a fit of a Gaussian is told it by leave-one-out."""
    found = fitted(clusters(), family).diagnostics
    planted = mixture_density({"weights": np.full(3, 1 / 3), "means": CENTRES, "variances": np.full((3, 2), 0.2)})
    generator = np.random.default_rng(0)
    points = planted.draw(generator.standard_normal((200_000, 2)), generator.random(200_000))
    moments = stats.multivariate_normal(CENTRES.mean(axis=0), np.cov(CENTRES.T, bias=True) + 0.2 * np.eye(2))
    truth = float((planted.log_density(points) - moments.logpdf(points)).mean())
    assert_close(estimate(found["negentropy"]), truth, slack=0.01)
    assert_close(
        Estimate(found["negentropy_upper"], found["index_code_mutual_information"]["standard_error"]), truth, 0.01
    )
    expected = {"mixture", "leave-one-out"} if isinstance(family, Mixture) else {"leave-one-out"}
    assert found["marginal_kl"]["method"] in expected


@pytest.mark.parametrize("prior", ["standard normal", None])
def test_without_noise_only_gains_are_left(prior: str | None) -> None:
    encoding = encoding_of(clusters(2_000).mean, 0.0)
    found = fitted(encoding, Mixture(components=3), prior=prior).diagnostics
    json.dumps(found, allow_nan=False)
    assert found["mean_kl"] is None
    assert found["negentropy_upper"] is None
    assert found["index_code_mutual_information"]["value"] == pytest.approx(np.log(1_620))
    assert all(entry["marginal_kl"] is None for entry in found["per_dimension"])
    assert found["negentropy"]["value"] > 10 * found["negentropy"]["standard_error"]
    if prior is None:
        assert found["marginal_kl"] is None
        return
    bracket = found["marginal_kl"]
    assert bracket["method"] == "mixture"
    assert bracket["upper"] is None
    assert bracket["saturated"]
    assert bracket["value"] == pytest.approx(found["gain"]["value"])


def test_without_a_prior_there_is_no_divergence_from_it() -> None:
    found = fitted(clusters(2_000), Mixture(components=3), prior=None).diagnostics
    absent = ("mean_kl", "marginal_kl", "gaussian_kl", "negentropy_upper")
    assert all(found[name] is None for name in absent)
    assert all(entry["marginal_kl"] is entry["kl_to_prior"] is None for entry in found["per_dimension"])
    assert found["negentropy"]["value"] > 10 * found["negentropy"]["standard_error"]


def test_a_learned_prior_that_fits_is_matched() -> None:
    """q is the mixture prior: nothing to gain, though N(m, S) loses nats, for which there is no closed form."""
    prior = mixture_density({"weights": np.full(3, 1 / 3), "means": CENTRES, "variances": np.full((3, 2), 0.2)})
    found = fitted(clusters(), Gaussian(), prior=prior).diagnostics
    assert found["gaussian_kl"] is found["negentropy_upper"] is None
    assert found["gaussian_gain"]["value"] < -0.5
    bracket, information = found["marginal_kl"], estimate(found["index_code_mutual_information"])
    assert bracket["value"] <= 2 * bracket["standard_error"] + 1e-3
    error = np.hypot(information.standard_error, found["mean_kl_standard_error"])
    assert_close(Estimate(bracket["upper"], float(error)), 0.0, slack=0.01)
    assert all(abs(entry["marginal_kl"]) < 0.01 for entry in found["per_dimension"])


def test_a_mixture_prior_of_one_component_is_a_gaussian() -> None:
    """KL(N(m, S) || N(m_p, S_p)) = 1/2 (tr S_p^-1 S + d' S_p^-1 d - D + ln det S_p - ln det S)."""
    encoding, mean, covariance = shifted(20_000, seed=2)
    factor = np.array([[0.7, 0, 0, 0], [0.2, 0.9, 0, 0], [0, 0.3, 1.1, 0], [-0.4, 0, 0, 0.6]])
    spread, centre = factor @ factor.T, np.array([0.1, 0.2, -0.3, 0.0])
    inverse, step = np.linalg.inv(spread), mean - centre
    log_ratio = np.linalg.slogdet(spread)[1] - np.linalg.slogdet(covariance)[1]
    truth = 0.5 * (np.trace(inverse @ covariance) + step @ inverse @ step - 4 + log_ratio)
    assert gaussian_kl(mean, covariance, FullGaussian(centre, spread)) == pytest.approx(truth, rel=1e-10)
    full = GaussianMixture(np.ones(1), centre[None], spread[None])
    found = fitted(encoding, Gaussian(), prior=full).diagnostics
    assert found["gaussian_kl"] == pytest.approx(truth, abs=0.1)
    assert_close(estimate(found["marginal_kl"]), truth)
    variances = np.array([0.5, 1.0, 2.0, 0.3])
    diagonal = GaussianMixture(np.ones(1), centre[None], variances[None])
    expected = gaussian_kl(mean, covariance, FullGaussian(centre, np.diag(variances)))
    assert fitted(encoding, Gaussian(), prior=diagonal).diagnostics["gaussian_kl"] == pytest.approx(expected, abs=0.1)


def test_copies_under_two_labels_are_left_out_together() -> None:
    """Left in, the copy would be the row itself, and a matched encoder would be told to lie nats from its prior."""
    plain = matched(500, 8)
    arrays = [array.repeat(2, axis=0) for array in (plain.mean, plain.std, plain.row_digests)]
    labels = np.tile(np.array([0, 1], dtype=np.int32), 500)
    found = fitted(Encoding(arrays[0], arrays[1], labels, arrays[2], ("a", "b")), Gaussian()).diagnostics
    assert found["leave_one_out"]["value"] < 0
    assert_close(estimate(found["marginal_kl"]), 0.0)


def test_nothing_held_out_leaves_zero_and_leave_one_out() -> None:
    found = fitted(shifted(4_000)[0], Gaussian(), holdout=0.0).diagnostics
    assert found["gain"] is found["gaussian_gain"] is found["negentropy"] is None
    assert found["marginal_kl"]["method"] == "leave-one-out"
    assert fitted(matched(500, 8), Gaussian(), holdout=0.0).diagnostics["marginal_kl"]["method"] == "zero"


def signed(rows: int, noise: float = 0.3) -> Encoding:
    """q(z) = N(0, I) in 2 dimensions, and the label is the sign of the first mean, but for a last row with its own."""
    plain = matched(rows, 2, noise=noise, seed=3)
    labels = (plain.mean[:, 0] > 0).astype(np.int32)
    labels[-1] = 2
    return Encoding(plain.mean, plain.std, labels, plain.row_digests, ("minus", "plus", "alone"))


def told_by_sign(noise: float) -> float:
    """I(z; y) = ln 2 - E h(P(y|z)), P(plus|z) = Phi(z sqrt((1 - noise) / noise)), by quadrature."""

    def integrand(z: float) -> float:
        logarithms = stats.norm.logcdf(np.array([1, -1]) * z * np.sqrt((1 - noise) / noise))
        return float(stats.norm.pdf(z) * -(np.exp(logarithms) @ logarithms))

    return float(np.log(2) - integrate.quad(integrand, -9, 9)[0])


def test_a_conditional_model_is_measured_per_label_where_pooled_it_would_look_matched() -> None:
    encoding, truth = signed(20_000), told_by_sign(0.3)
    pooled = fitted(encoding, Gaussian()).diagnostics
    assert pooled["marginal_kl"]["value"] <= 2 * pooled["marginal_kl"]["standard_error"] + 1e-3
    assert "per_label" not in pooled
    found = fitted(encoding, Mixture(components=4), by_label=False, conditional=True).diagnostics
    json.dumps(found, allow_nan=False)
    bracket = found["marginal_kl"]
    assert_close(estimate(bracket), truth)
    assert_close(
        Estimate(bracket["upper"], found["index_code_mutual_information"]["standard_error"]), truth, slack=0.01
    )
    assert found["mean_kl"] == pytest.approx(pooled["mean_kl"])
    assert found["gain"]["value"] < 0.02  # of f(z), which knows no label
    entries = found["per_label"]
    assert [entry["label"] for entry in entries] == ["minus", "plus", "alone"]
    weights = np.array([entry["rows"] for entry in entries]) / 20_000
    for name in ("mean_kl", "gaussian_kl", "index_code_ceiling"):
        assert found[name] == pytest.approx(weights @ [entry[name] for entry in entries])
    for number, sign in ((0, -1), (1, 1)):
        entry, mine = entries[number], encoding.mean[encoding.labels == number].astype(float)
        covariance = np.cov(mine.T, bias=True) + 0.3 * np.eye(2)
        assert entry["gaussian_kl"] == pytest.approx(
            gaussian_kl(mine.mean(axis=0), covariance, DiagonalGaussian(np.zeros(2), np.ones(2))), abs=1e-6
        )
        assert_close(estimate(entry["marginal_kl"]), truth, slack=0.01)
        assert_close(estimate(entry["gaussian_gain"]), entry["gaussian_kl"], slack=0.01)
        assert entry["gains"]["mixture"]["value"] < 0.1
        assert np.sign(mine[:, 0].mean()) == sign
    first, second = (entry["marginal_kl"] for entry in found["per_dimension"])
    assert first == pytest.approx(truth, abs=0.01)
    assert second < 0.01


def test_a_fit_by_label_is_as_good_as_the_labels_moments() -> None:
    found = fitted(signed(6_000), Gaussian(covariance="diagonal"), by_label=False, conditional=True).diagnostics
    by_label = fitted(_without_last(signed(6_000)), Gaussian(), by_label=True, conditional=True).diagnostics
    assert by_label["gain"]["value"] == pytest.approx(by_label["gaussian_gain"]["value"], abs=1e-9)
    assert by_label["gain"]["value"] > found["gain"]["value"] + 0.2


def _without_last(encoding: Encoding) -> Encoding:
    assert encoding.labels is not None
    return Encoding(encoding.mean[:-1], encoding.std[:-1], encoding.labels[:-1], encoding.row_digests[:-1],
                    encoding.classes)  # fmt: skip


@pytest.mark.full
@pytest.mark.parametrize("conditional", [False, True])
def test_two_million_rows_take_bounded_memory(tmp_path: Path, conditional: bool) -> None:
    """A fit with all its diagnostics: the encoding is read in blocks, and no more is held than numbers of rows."""
    rows, size = 2_000_000, 10
    generator = np.random.default_rng(0)
    path = tmp_path / "encoding.safetensors"
    with EncodingWriter(path, rows, size, True, classes=("a", "b", "c", "d")) as writer:
        for first in range(0, rows, 100_000):
            mean = generator.standard_normal((100_000, size), dtype=np.float32)
            digests = generator.integers(0, 256, (100_000, 16))
            writer.write(first, mean, np.full_like(mean, 0.2), generator.integers(0, 4, 100_000), digests)
    encoding = open_encoding(path)
    tracemalloc.start()  # counts what numpy allocates, and not the pages of the file
    try:
        fitted(encoding, Gaussian(), conditional=conditional)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 400 * 2**20
