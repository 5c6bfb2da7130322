"""A report on real digits with a reference that nothing saw, and the rows that it stands on."""

from pathlib import Path

import numpy as np
import pytest

from latentmill.demo.digits import load
from latentmill.demo.run import BUNDLE
from latentmill.errors import DataError
from latentmill.specs import Aggregate, FitRequest, Gaussian, Prior
from workers.diagnostics.heads import head_warnings
from workers.generation.encoding import encode_dataset
from workers.models import load_vae, open_bundle
from workers.posteriors import density_of, fit_posterior, open_encoding, standard_normal
from workers.reporting.candidates import Candidate
from workers.reporting.ground import ground_of
from workers.reporting.report import make_report
from workers.reporting.subject import Subject, halves, unseen_rows

SEED = 3


def nothing(*_) -> None: ...


@pytest.fixture(scope="module")
def subjects(tmp_path_factory) -> tuple[Subject, Subject]:
    """The digits that the demo's VAE was trained on, and others with four of those among them."""
    folder: Path = tmp_path_factory.mktemp("digits")
    data, vae = load(), load_vae(open_bundle(BUNDLE), inspected=True)
    found = []
    for name, rows in (
        ("dataset", data.training),
        ("reference", np.concatenate([data.reference, data.training[:4], data.floor])),
    ):
        path = folder / name
        encode_dataset(
            vae, rows, None, path,
            classes=None, batch_rows=256, head_test=head_warnings, check=nothing, progress=nothing,
        )  # fmt: skip
        found.append(Subject(vae, open_encoding(path), rows))
    return found[0], found[1]


@pytest.fixture(scope="module")
def report(subjects):
    dataset, reference = subjects
    prior = standard_normal(dataset.encoding.latent_size)
    ground = ground_of(dataset, reference, rows=200, seed=SEED, holdout=0.1, check=nothing)
    candidates = [Candidate("prior", Prior(), served=prior, judged=prior)]
    request = FitRequest(model="m", dataset="d", family=Gaussian(), seed=SEED)
    fit = fit_posterior(dataset.encoding, request, prior, progress=nothing, check=nothing)
    served = density_of(fit.family, fit.parameters)
    candidates += [
        Candidate(
            "gaussian",
            Aggregate(fit="fit_1"),
            fit.family,
            fit="fit_1",
            served=served,
            judged=served,
            warnings=("It has seen few rows.",),
        ),
        Candidate("mixture", None, warnings=("Nobody will use it.",), error="It could not be fitted."),
    ]
    return make_report(
        ground, candidates, prior,
        rows=200, seed=SEED, settings={"model": {"name": "digits"}}, batch_rows=256, threads=2,
        check=nothing, progress=nothing,
    )  # fmt: skip


def test_rows_of_the_dataset_do_not_judge(subjects) -> None:
    dataset, reference = subjects
    unseen = unseen_rows(reference.encoding, dataset.encoding)
    assert sorted(set(range(504)) - set(unseen.tolist())) == [250, 251, 252, 253]
    with pytest.raises(DataError, match="Of the 1,297 rows of the reference 0 are not in the dataset too"):
        ground_of(dataset, dataset, rows=200, seed=SEED, holdout=0.1, check=nothing)


def test_halves_are_disjoint_and_keep_equal_rows_together(subjects) -> None:
    encoding = subjects[1].encoding
    twice = type(encoding)(
        *(np.concatenate([array, array]) for array in (encoding.mean, encoding.std)),
        labels=None,
        row_digests=np.concatenate([encoding.row_digests, encoding.row_digests]),
    )
    first, second = halves(twice, np.arange(twice.rows), seed=1)
    assert sorted([*first, *second]) == list(range(twice.rows))
    assert abs(len(first) - len(second)) <= 2
    assert set(first % encoding.rows).isdisjoint(second % encoding.rows)


def test_what_was_compared_is_stated(report) -> None:
    settings = report.content["settings"]
    assert settings["rows"] == 200
    assert settings["judging_rows"] == 500
    assert report.warnings == [
        "4 of the 504 rows of the reference are in the dataset too, and were left out.",
        "gaussian: It has seen few rows.",
    ]
    assert settings["model"] == {"name": "digits"}


def test_the_fit_is_recommended_with_its_evidence(report) -> None:
    recommendation = report.content["recommendation"]
    assert (recommendation["candidate"], recommendation["evidence"]) == ("gaussian", "clear")
    assert recommendation["strategy"] == {"kind": "aggregate", "fit": "fit_1", "temperature": 1.0, "labels": None}
    prior, gaussian, failed = report.content["candidates"]
    assert gaussian["chosen"]
    assert not prior["chosen"]
    assert gaussian["gain"]["value"] > 10 * gaussian["gain"]["standard_error"]
    assert prior["why_not"].startswith("loses")
    assert failed["error"]
    assert failed["quality"] is None
    assert failed["gain"] is None


def test_rows_are_measured_against_both_references_and_the_floors(report) -> None:
    prior, gaussian, _ = report.content["candidates"]
    for reference in ("decoded", "real"):
        far, near = (each["quality"][reference]["kernel_distance"]["value"] for each in (prior, gaussian))
        assert far > near
        floors = [floor[reference]["kernel_distance"] for floor in report.content["floors"].values()]
        assert len(floors) == 2
        assert all(floor["value"] < far for floor in floors)
    over = gaussian["quality"]["decoded"]["kernel_distance_over_prior"]
    assert over["value"] == pytest.approx(near_minus_far(prior, gaussian), abs=1e-12)
    assert 0.5 < gaussian["quality"]["gap_closed"]["value"] < 1.2
    own = report.content["floors"]["real"]["real"]["kernel_distance"]
    assert abs(own["value"]) < 4 * own["standard_error"]


def near_minus_far(prior, gaussian) -> float:
    distances = [each["quality"]["decoded"]["kernel_distance"]["value"] for each in (gaussian, prior)]
    return distances[0] - distances[1]


def test_nothing_is_a_copy_of_a_real_row(report) -> None:
    for each in report.content["candidates"][:2]:
        assert each["memorisation"]["duplicates"] == 0
        assert abs(each["memorisation"]["features"]["z"]) < 4


def test_the_page_shows_rows_and_the_answer(report) -> None:
    assert report.content["recommendation"]["reason"].split(":")[0] in report.page
    assert report.page.count("data:image/png") >= 4
    assert "It could not be fitted." in report.page
