"""Reports on what users really have: labels, no prior, latents alone, copies, too few rows, one candidate warmer."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from latentmill.errors import DataError, LatentmillError
from latentmill.specs import Aggregate, Family, FitRequest, Gaussian, Mixture, Prior
from tests.unit.data.conftest import WIDTH, linear_vae
from workers.diagnostics.heads import head_warnings
from workers.generation.encoding import copy_latents, encode_dataset
from workers.models import TorchVae
from workers.posteriors import density_of, fit_posterior, open_encoding
from workers.posteriors.judging import judged_density
from workers.posteriors.prior import declared_prior
from workers.posteriors.tempered import tempered
from workers.posteriors.twin import gaussian_twin
from workers.reporting.candidates import Candidate
from workers.reporting.ground import Ground, ground_of
from workers.reporting.report import Report, make_report
from workers.reporting.scores import held_out_scores
from workers.reporting.subject import Subject

W = np.linalg.qr(np.random.default_rng(5).standard_normal((WIDTH, 4)))[0]


def nothing(*_) -> None: ...


def rows_of(count: int, seed: int = 0) -> np.ndarray:
    """Rows that the linear VAE can carry, of latents that are normal with std 0.5."""
    return (0.5 * np.random.default_rng(seed).standard_normal((count, 4)) @ W.T).astype(np.float32)


def labels_of(names: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    classes = tuple(sorted(set(names)))
    return np.array([classes.index(name) for name in names], np.int32), classes


@pytest.fixture
def seen(tmp_path: Path) -> Callable[..., Subject]:
    """Rows, with their labels, under a model."""

    def of(vae: TorchVae, rows: np.ndarray, names: list[str] | None = None) -> Subject:
        labels, classes = (None, None) if names is None else labels_of(names)
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.encoding"
        encode_dataset(
            vae, rows, labels, path,
            classes=classes, batch_rows=256, head_test=head_warnings, check=nothing, progress=nothing,
        )  # fmt: skip
        return Subject(vae, open_encoding(path), rows)

    return of


def ground(dataset: Subject, reference: Subject | None = None) -> Ground:
    return ground_of(dataset, reference, rows=25, seed=0, holdout=0.2, check=nothing)


def reported(found: Ground, *families: tuple[Family, bool]) -> Report:
    """A report of the prior, where there is one, and of `families`, each by label or not."""
    vae = found.subject.vae
    prior = declared_prior(vae.manifest, {})
    candidates = [] if prior is None else [Candidate("prior", Prior(), served=prior, judged=prior)]
    for family, by_label in families:
        request = FitRequest(model="m", dataset="d", family=family, by_label=by_label, holdout=0.2)
        fit = fit_posterior(
            found.subject.encoding, request, prior,
            progress=nothing, check=nothing, conditional=vae.manifest.labels is not None,
        )  # fmt: skip
        served = density_of(fit.family, fit.parameters)
        judged = judged_density(found.subject.encoding, found.split, family, served, check=nothing)
        strategy = Aggregate(fit="fit_1")
        candidates.append(
            Candidate(family.kind + " by label" * by_label, strategy, fit.family, by_label, "fit_1", served, judged)
        )
    return make_report(
        found, candidates, prior,
        rows=25, seed=0, settings={}, batch_rows=256, threads=1, check=nothing, progress=nothing,
    )  # fmt: skip


def test_a_conditional_model_is_judged_and_drawn_label_by_label(tmp_path: Path, seen) -> None:
    """By label nothing is left to learn; rows of each candidate have the labels of the reference."""
    names = ["a"] * 200 + ["b"] * 100
    rows = rows_of(300) + np.repeat([[0.0], [10.0]], [200, 100], axis=0).astype(np.float32)
    found = ground(seen(linear_vae(tmp_path / "v.zip", classes=["a", "b", "c"]), rows, names))
    report = reported(found, (Gaussian(), False), (Gaussian(covariance="diagonal"), True))
    assert report.content["recommendation"]["strategy"]["kind"] == "aggregate"
    together, by_label = (one["gain"]["value"] for one in report.content["candidates"][1:])
    assert by_label > together
    assert "“c”" not in report.page


def test_a_reference_with_a_label_that_the_dataset_lacks_is_refused_by_name(tmp_path: Path, seen) -> None:
    vae = linear_vae(tmp_path / "v.zip", classes=["a", "b", "c"])
    dataset, reference = seen(vae, rows_of(60), ["a", "c"] * 30), seen(vae, rows_of(40, seed=1), ["a", "b"] * 20)
    with pytest.raises(DataError, match="the label 'b', which no row of the dataset has") as refused:
        ground(dataset, reference)
    assert refused.value.errors[0].pointer == "/reference"
    plain = linear_vae(tmp_path / "p.zip")
    ground(seen(plain, rows_of(60), ["a", "c"] * 30), seen(plain, rows_of(40, seed=1), ["a", "b"] * 20))


def test_few_rows_of_a_conditional_model_still_make_a_page(tmp_path: Path, seen) -> None:
    found = ground(seen(linear_vae(tmp_path / "v.zip", classes=["a", "b"]), rows_of(60), ["a", "b"] * 30))
    report = reported(found, (Gaussian(covariance="diagonal"), True))
    assert report.content["recommendation"]["evidence"] == "too few rows"
    assert report.warnings == [
        "Rows were not compared: that takes 20 for each reference, and this report has 6. Give it a larger dataset, "
        "holdout or reference."
    ]
    assert "and the label is" in report.page
    assert report.content["settings"]["rows"] == 0
    assert "rows of each" not in report.page


@pytest.mark.parametrize("copies", [1, 2])
def test_copies_of_a_row_or_two_are_refused_or_too_few(tmp_path: Path, seen, copies: int) -> None:
    rows = np.repeat(rows_of(copies), 100, axis=0)
    dataset = seen(linear_vae(tmp_path / "v.zip"), rows)
    if copies == 1:
        with pytest.raises(DataError, match="The 100 rows hold 1 different ones"):
            ground(dataset)
        return
    said = reported(ground(dataset), (Gaussian(), False)).content["recommendation"]
    assert (said["strategy"], said["evidence"]) == (None, "too few rows")
    assert "has 1 here" in said["reason"]


def test_without_a_prior_nothing_is_said_of_one(tmp_path: Path, seen) -> None:
    """A deterministic autoencoder: the diagonal gaussian is what gains are over, and nothing has an ELBO."""
    vae = linear_vae(tmp_path / "v.zip", true=("pair", "none"), prior={"kind": "none"})
    crossed = np.random.default_rng(0).standard_normal((800, 4)) * [1, 1, 0.1, 0.1]
    crossed[:400] = crossed[:400, [2, 3, 0, 1]]
    found = ground(seen(vae, (crossed @ W.T).astype(np.float32)))
    diagonal = (Gaussian(covariance="diagonal"), False)
    report = reported(found, diagonal, (Mixture(components=2), False))
    reason = report.content["recommendation"]["reason"]
    assert "likelier than under the gaussian, by" in reason
    answer = report.page.split("How to read")[0]
    for word in ("the prior", "ELBO"):
        assert word not in reason
    assert "over the prior" not in answer
    assert "over the diagonal Gaussian" in answer
    agreed = reported(found, diagonal).content["recommendation"]
    assert agreed["reason"].startswith("Draw from the gaussian, as the model declares no prior")


def test_latents_alone_can_be_reported(tmp_path: Path) -> None:
    """A decoder without an encoder: what real rows would tell is missing, the rest is there."""
    vae = linear_vae(tmp_path / "v.zip", given=[WIDTH])
    pair = np.stack([0.5 * np.random.default_rng(0).standard_normal((400, 4)), np.full((400, 4), 0.1)], axis=1)
    path = tmp_path / "latents"
    copy_latents(pair.astype(np.float32), None, path, classes=None, latent_size=4, check=nothing)
    report = reported(ground(Subject(vae, open_encoding(path), None)), (Gaussian(), False))
    gaussian = report.content["candidates"][1]
    assert gaussian["quality"]["real"] is None
    assert gaussian["quality"]["decoded"]["kernel_distance"]["value"] < 0.5
    assert gaussian["memorisation"]["features"] is None
    assert set(report.content["floors"]) == {"reconstructions"}


def test_a_warmer_density_is_scored_as_what_it_draws(tmp_path: Path, seen) -> None:
    """N(m, t^2 S) loses D (ln t + 1 / 2t^2 - 1/2) nats to N(m, S): 4 dimensions at t = 1.3 lose 0.23."""
    found = ground(seen(linear_vae(tmp_path / "v.zip"), rows_of(1_000)))
    plain = gaussian_twin(found.subject.encoding, found.split, found.measured, conditional=False, check=nothing)[1]
    densities = {"plain": plain, "warm": tempered(plain, 1.3)}
    scores = held_out_scores(found, densities, conditional=False, seed=0, check=nothing)
    lost = (scores["plain"] - scores["warm"]).mean()
    assert lost == pytest.approx(4 * (np.log(1.3) + 0.5 / 1.3**2 - 0.5), abs=0.08)


def test_what_the_reference_shares_with_the_dataset_is_told(tmp_path: Path, seen) -> None:
    vae, rows = linear_vae(tmp_path / "v.zip"), rows_of(300)
    dataset = seen(vae, rows[:200])
    report = reported(ground(dataset, seen(vae, rows[150:])), (Gaussian(), False))
    assert report.warnings[0] == "50 of the 150 rows of the reference are in the dataset too, and were left out."
    assert report.warnings[1:] == []
    with pytest.raises(LatentmillError, match="Of the 201 rows of the reference 1 are not in the dataset too"):
        ground(dataset, seen(vae, rows[:201]))


def test_large_rows_are_compared_in_the_number_that_memory_holds(tmp_path: Path, seen, monkeypatch) -> None:
    """Features are computed block by block, and are the same."""
    dataset = seen(linear_vae(tmp_path / "v.zip"), rows_of(300))
    whole = dataset.delivered(np.arange(40)).values["rows"]
    monkeypatch.setattr("workers.reporting.subject.SAMPLE_BYTES", 22 * WIDTH * 4)
    monkeypatch.setattr("workers.reporting.subject.BLOCK_VALUES", 7 * WIDTH)
    assert np.array_equal(dataset.delivered(np.arange(40)).values["rows"], whole)
    report = reported(ground(dataset), (Gaussian(), False))
    assert report.content["settings"]["rows"] == 22
    assert report.warnings == [
        "25 rows were asked for, and 22 compared: rows of 16 values are too large to hold more of them in memory."
    ]
