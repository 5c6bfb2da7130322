"""Encodings whose best strategy is known: what the whole report says of them."""

from pathlib import Path

import numpy as np
import pytest

from latentmill.specs import Gaussian, Mixture
from tests.numerics.planted import encoding_of, matched, shifted
from tests.numerics.reported import linear_decoder, report_on


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("known")


def answer(report) -> tuple[str | None, str]:
    return report.content["recommendation"]["candidate"], report.content["recommendation"]["evidence"]


def two_clusters(rows: int, size: int = 3) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    centres = np.array([[-2.0] * size, [2.0] * size])
    return centres[generator.integers(0, 2, rows)] + 0.3 * generator.standard_normal((rows, size)), centres


def test_a_planted_mixture_is_recovered(folder: Path) -> None:
    means, centres = two_clusters(6_000)
    report = report_on(linear_decoder(folder, 3), encoding_of(means, 0.2))
    assert answer(report) == ("mixture 2", "clear")
    chosen = report.content["candidates"][2]
    assert chosen["chosen"]
    assert chosen["gain"]["value"] > 3
    assert (
        abs(chosen["quality"]["decoded"]["kernel_distance"]["value"])
        < 3 * (chosen["quality"]["decoded"]["kernel_distance"]["standard_error"])
    )
    # KL(q || p) of the planted law, by 200,000 draws of it: the bracket's lower end is within its error of it.
    draws = centres[np.random.default_rng(2).integers(0, 2, 200_000)]
    draws = draws + np.sqrt(0.3**2 + 0.2**2) * np.random.default_rng(3).standard_normal(draws.shape)
    variance = 0.3**2 + 0.2**2
    parts = [-0.5 * ((draws - c) ** 2).sum(1) / variance - 1.5 * np.log(2 * np.pi * variance) for c in centres]
    log_q = np.logaddexp(*parts) + np.log(0.5)
    truth = (log_q + 0.5 * (draws**2).sum(1) + 1.5 * np.log(2 * np.pi)).mean()
    bracket = report.content["mismatch"]["marginal_kl"]
    assert abs(bracket["value"] - truth) < 4 * bracket["standard_error"]


def test_a_collapsed_vae_gives_agree(folder: Path) -> None:
    generator = np.random.default_rng(0)
    report = report_on(linear_decoder(folder, 4), encoding_of(0.003 * generator.standard_normal((3_000, 4)), 1.0))
    assert answer(report) == ("prior", "agree")
    assert report.content["mismatch"]["informative_units"] == 0
    assert report.content["mismatch"]["inert_dimensions"] == [0, 1, 2, 3]


@pytest.mark.parametrize("rows", [1_000, pytest.param(60_000, marks=pytest.mark.full)])
def test_an_informative_matched_vae_is_called_matched(folder: Path, rows: int) -> None:
    report = report_on(linear_decoder(folder, 10), matched(rows, 10), rows=min(rows, 500))
    assert answer(report) == ("prior", "agree")
    found = report.content["mismatch"]
    assert found["mean_kl"] > 10
    assert found["marginal_kl"]["saturated"]
    assert found["marginal_kl"]["upper"] > 3
    assert found["marginal_kl"]["value"] <= 0.02 + 3 * found["marginal_kl"]["standard_error"]


def test_a_shifted_one_recommends_a_fit(folder: Path) -> None:
    encoding, _, _ = shifted(4_000)
    report = report_on(linear_decoder(folder, 4), encoding)
    assert answer(report) == ("gaussian 1", "clear")
    assert "nats" in report.content["recommendation"]["reason"]


def test_a_learned_mixture_prior_that_fits_is_not_replaced(folder: Path) -> None:
    means, centres = two_clusters(5_000)
    variance = 0.3**2 + 0.2**2
    prior = {"weights": np.array([0.5, 0.5]), "means": centres, "variances": np.full((2, 3), variance)}
    report = report_on(linear_decoder(folder, 3, prior=prior), encoding_of(means, 0.2))
    assert answer(report) == ("prior", "agree")
    assert report.content["mismatch"]["gaussian_kl"] is None


def test_a_deterministic_autoencoder_without_prior_gets_an_answer(folder: Path) -> None:
    means, _ = two_clusters(4_000)
    families = (Gaussian(covariance="diagonal"), Gaussian(), Mixture(components=2))
    report = report_on(linear_decoder(folder, 3, kind="none"), encoding_of(means, 0.0), families)
    assert answer(report) == ("mixture 2", "clear")
    found = report.content["mismatch"]
    assert found["mean_kl"] is None
    assert found["marginal_kl"] is None
    assert all(np.isfinite(each["gain"]["value"]) for each in report.content["candidates"])


@pytest.mark.parametrize(("rows", "named"), [(300, "gaussian 1"), (150, None)])
def test_of_few_held_out_rows_only_a_gain_that_stands_out_is_followed(folder: Path, rows: int, named: str) -> None:
    encoding, _, _ = shifted(rows)
    report = report_on(linear_decoder(folder, 4), encoding)
    assert answer(report) == (named, "too few rows")
    assert (report.content["recommendation"]["strategy"] is None) == (named is None)


def test_a_report_is_the_same_twice(folder: Path) -> None:
    encoding, _, _ = shifted(1_500)
    vae = linear_decoder(folder, 4)
    one, other = (report_on(vae, encoding, rows=60) for _ in range(2))
    assert one.content == other.content
