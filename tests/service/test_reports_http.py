"""Reports over HTTP: what they compare, what they wait for, what they survive, and the page."""

import pytest

from latentmill.errors import DataError, InvalidBundle, InvalidLabels
from service.datasets.tables import DatasetRow
from service.reports.candidates import check_reference, default_candidates, name_of
from tests.service.steps import vae

GAUSSIAN, MIXTURE = {"kind": "gaussian"}, {"kind": "mixture"}
TWO = [GAUSSIAN, MIXTURE]
CONTENT = {
    "settings": {"rows": 5, "rows_asked": 2000},
    "mismatch": {"mean_kl": 3.5},
    "candidates": [{"name": "prior", "gain": None}],
    "floors": {"real": {}},
    "recommendation": {"strategy": {"kind": "prior"}, "reason": "It agrees.", "evidence": "agree"},
}
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def asked(**changes):
    return {"model": "digits", "dataset": "train"} | changes


@pytest.fixture
def create(client):
    def post(**changes):
        answer = client.post("/v1/reports", json=asked(**changes))
        assert answer.status_code == 202, answer.text
        return answer.json()

    return post


@pytest.fixture
def show(client):
    return lambda report: client.get(f"/v1/reports/{report['id']}").json()


def names(report):
    return [candidate["name"] for candidate in report["candidates"]]


def test_a_report_makes_its_fits_and_is_measured_when_they_are_settled(client, model, dataset, create, show, worker):
    made = create(candidates=TWO, name="r", seed=3, metadata={"a": "b"})
    assert (made["state"], made["progress"], made["recommendation"], made["page_url"]) == ("queued", 0.0, None, None)
    assert names(made) == ["prior", "gaussian", "mixture"], "the prior is always compared"
    fits = client.get("/v1/fits").json()["data"]
    assert {fit["seed"] for fit in fits} == {3}
    assert {fit["id"] for fit in fits} == {each["fit"] for each in made["candidates"][1:]}
    assert "enc_" in made["state_reason"]
    worker.encode()
    worker.fit()
    assert show(made)["progress"] == 0.25
    assert worker.items("report") == []
    worker.fit()
    assert show(made)["state_reason"] is None
    work = worker.report(CONTENT)
    ready = client.get("/v1/reports/r").json()
    assert {name: ready[name] for name in CONTENT} == CONTENT
    assert (ready["state"], ready["progress"], ready["warnings"]) == ("ready", 1.0, ["a warning"])
    assert (ready["model"], ready["dataset"], ready["rows"], ready["holdout"]) == (model, dataset, 2000, 0.1)
    assert [candidate.name for candidate in work.candidates] == ["prior", "gaussian", "mixture"]
    assert work.candidates[1].parameters == b"parameters"
    assert work.candidates[2].strategy.canonical()["fit"] == made["candidates"][2]["fit"]
    assert (work.model_id, work.dataset.rows, work.reference) == (model, 100, None)


def test_the_default_is_known_once_all_that_the_report_names_is_encoded(upload, worker, create, show):
    upload("models", name="digits")
    upload("datasets", name="train")
    made = create()
    worker.inspect()
    worker.read()
    assert show(made)["candidates"] == []
    worker.encode()
    assert names(show(made)) == ["prior", "gaussian", "mixture", "flow", "empirical"]


@pytest.mark.parametrize(
    ("changes", "labels", "wanted"),
    [
        ({}, None, ["prior", "gaussian", "mixture", "flow", "empirical"]),
        ({"prior": {"kind": "none"}}, None, ["diagonal gaussian", "gaussian", "mixture", "flow", "empirical"]),
        ({"encoder": {"scale": "none"}}, None, ["prior", "gaussian", "mixture", "flow"]),
        ({"latent": {"shape": [1]}}, None, ["prior", "gaussian", "mixture", "empirical"]),
        ({"latent": {"shape": [20, 20]}}, None, ["prior", "gaussian", "diagonal mixture", "empirical"]),
        ({"latent": {"shape": [2000]}}, None, ["prior", "diagonal gaussian", "diagonal mixture", "empirical"]),
        (
            {"labels": {"classes": ["0", "1"]}}, [["0", 1000], ["1", 1000]],
            ["prior", "gaussian", "mixture", "flow", "empirical", "gaussian by label", "mixture by label"],
        ),
        (
            {"labels": {"classes": ["0", "1"]}}, [["0", 1000], ["1", 60]],
            ["prior", "gaussian", "mixture", "flow", "empirical", "diagonal gaussian by label",
             "diagonal mixture by label"],
        ),
    ],
)  # fmt: skip
def test_the_default_follows_the_model(changes, labels, wanted):
    found: list[str] = []
    for candidate in default_candidates(vae(**changes), DatasetRow(label_counts=labels), 0.1):
        found.append(name_of(candidate, None, found))
    assert found == wanted


def test_a_conditional_model_is_judged_by_labels_that_it_was_fitted_to():
    manifest = vae(labels={"classes": ["0", "1", "2"]})
    dataset, reference = (
        DatasetRow(id=name, label_counts=counts)
        for name, counts in (("dat_a", [["0", 9], ["1", 0]]), ("dat_b", [["0", 3], ["1", 1], ["2", 1]]))
    )
    with pytest.raises(InvalidLabels, match="dat_b has the labels '1', '2', which no row of dat_a has") as refused:
        check_reference(manifest, dataset, reference)
    assert refused.value.errors[0].pointer == "/reference"
    check_reference(manifest, reference, dataset)
    check_reference(vae(), dataset, reference)  # any label will do
    check_reference(manifest, dataset, DatasetRow(id="dat_c", label_counts=None))  # is still read


def test_a_failed_fit_is_a_candidate_less(client, model, dataset, create, show, worker):
    made = create(candidates=TWO)
    worker.encode()
    worker.fail("fit", DataError("too few rows"))
    assert show(made)["progress"] == 0.25
    worker.fit()
    assert [each["error"] for each in show(made)["candidates"]] == [None, "too few rows", None]
    work = worker.report(CONTENT)
    assert [candidate.error for candidate in work.candidates] == [None, "too few rows", None]
    assert [candidate.parameters for candidate in work.candidates] == [None, None, b"parameters"]
    assert show(made)["state"] == "ready"


def test_the_last_fit_may_fail_too(model, dataset, create, show, worker):
    made = create(candidates=[GAUSSIAN])
    worker.encode()
    worker.fail("fit", DataError("too few rows"))
    assert show(made)["state"] == "queued"
    worker.report(CONTENT)
    assert show(made)["state"] == "ready"


def test_a_failed_encoding_fails_the_report(client, model, dataset, create, show, worker):
    made = create(candidates=TWO)
    worker.fail("encode", DataError("row 7: std is NaN"))
    failed = show(made)
    assert (failed["state"], failed["error"]["detail"]) == ("failed", "row 7: std is NaN")
    assert {fit["state"] for fit in client.get("/v1/fits").json()["data"]} == {"failed"}
    assert worker.items("report") == []
    page = client.get(f"/v1/reports/{made['id']}", headers={"Accept": "text/html"})
    assert (page.status_code, page.json()["code"]) == (409, "not_ready")
    assert "std is NaN" in page.json()["detail"]


def test_a_report_fails_with_what_it_names(client, upload, create, show, worker):
    upload("models", name="digits")
    upload("datasets", name="train")
    made = create()
    worker.reject_model(InvalidBundle("not a zip"))
    assert show(made)["error"]["code"] == "invalid_bundle"
    refused = client.post("/v1/reports", json=asked())
    assert (refused.status_code, refused.json()["code"]) == (409, "not_ready")


def test_what_the_worker_gives_up_fails_the_report(model, dataset, create, show, worker):
    made = create(candidates=[{"kind": "prior"}])
    worker.encode()
    worker.fail("report", DataError("the decoder gives NaN"))
    failed = show(made)
    assert (failed["state"], failed["error"]["detail"]) == ("failed", "the decoder gives NaN")


def test_a_candidate_that_shows_late_that_it_cannot_be_fails_the_report(upload, create, show, worker):
    upload("models", name="digits")
    upload("datasets", name="train")
    made = create(candidates=[GAUSSIAN, {"kind": "prior"}])
    worker.read()
    worker.inspect(vae(prior={"kind": "none"}))
    worker.encode()
    failed = show(made)
    assert (failed["state"], failed["error"]["code"]) == ("failed", "model_mismatch")
    assert failed["error"]["errors"][0]["pointer"] == "/candidates/1"


def test_a_reference_is_encoded_too(upload, model, dataset, create, show, worker):
    reference = upload("datasets", b"other rows", "test.npz", name="test").json()["id"]
    made = create(candidates=[{"kind": "prior"}], reference="test")
    assert reference in made["state_reason"]
    worker.encode()
    worker.read(rows=40)
    assert worker.items("report") == []
    worker.encode()
    work = worker.report(CONTENT)
    assert show(made)["reference"] == reference
    assert (work.reference.dataset_id, work.reference.rows) == (reference, 40)
    assert work.reference.encoding_key != work.dataset.encoding_key


def test_a_posterior_candidate_brings_its_own_encoding(upload, model, dataset, create, worker):
    upload("datasets", b"other rows", "test.npz", name="test")
    worker.read(rows=40)
    create(candidates=[{"kind": "posterior", "dataset": "test", "temperature": 0}])
    worker.encode()
    worker.encode()
    work = worker.report(CONTENT)
    assert [candidate.name for candidate in work.candidates] == ["prior", "posterior at temperature 0"]
    assert work.candidates[1].dataset.rows == 40


def test_fits_are_used_again_and_a_failed_one_is_tried_again(client, model, dataset, create, show, worker):
    first = create(candidates=TWO)
    worker.encode()
    worker.fail("fit", DataError("by chance"))
    worker.fit()
    worker.report(CONTENT)
    second = create(candidates=TWO)
    assert [each["fit"] for each in second["candidates"]] == [each["fit"] for each in first["candidates"]]
    assert second["id"] != first["id"]
    assert len(worker.items("fit")) == 1
    worker.fit()
    assert [each.error for each in worker.report(CONTENT).candidates] == [None, None, None]


def test_a_fit_begun_anew_by_another_is_waited_for_or_known_as_failed(client, model, dataset, create, show, worker):
    made = create(candidates=TWO)
    fits = [each["fit"] for each in made["candidates"][1:]]
    worker.encode()
    worker.fail("fit", DataError("by chance"))
    again = client.post("/v1/fits", json=asked(family=GAUSSIAN))
    assert (again.status_code, again.json()["id"]) == (202, fits[0])
    worker.fit()
    assert worker.items("report") == [], "the one that was begun again is waited for"
    worker.fail("fit", DataError("once more"))
    client.post("/v1/fits", json=asked(family=GAUSSIAN))
    work = worker.report(CONTENT)
    assert [each.error for each in work.candidates] == [None, "once more", None]
    worker.fit()
    assert show(made)["state"] == "ready"


def test_a_fit_can_be_named(client, model, dataset, fit, create, worker):
    made = create(candidates=[{"kind": "aggregate", "fit": fit, "temperature": 0.9}])
    assert names(made) == ["prior", f"fit {fit} at temperature 0.9"]
    assert made["candidates"][1]["family"] == {"kind": "gaussian", "covariance": "full"}
    assert worker.report(CONTENT).candidates[1].parameters == b"parameters"


def test_every_request_makes_a_report_but_not_the_same_key_twice(client, model, dataset):
    first, second = (client.post("/v1/reports", json=asked()).json()["id"] for _ in range(2))
    assert first != second
    keyed = [client.post("/v1/reports", json=asked(), headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert keyed[0].json()["id"] == keyed[1].json()["id"]
    assert keyed[1].headers["Idempotent-Replayed"] == "true"
    listed = client.get("/v1/reports", params={"model": model, "dataset": "train"}).json()["data"]
    assert [each["id"] for each in listed] == [keyed[0].json()["id"], second, first]
    assert client.get("/v1/reports", params={"limit": 1}).json()["has_more"]


@pytest.mark.parametrize(
    ("changes", "status", "pointer", "says"),
    [
        ({"wrong": 1}, 422, "/wrong", ""),
        ({"holdout": 0}, 422, "/holdout", "no rows to compare"),
        ({"holdout": 0.6}, 422, "/holdout", "0.5"),
        ({"rows": 19}, 422, "/rows", "20"),
        ({"rows": 50_001}, 422, "/rows", "50000"),
        ({"candidates": "best"}, 422, "/candidates", '"default"'),
        ({"candidates": []}, 422, "/candidates", "1 to 16"),
        ({"candidates": [GAUSSIAN, {"family": GAUSSIAN}]}, 422, "/candidates", "the same"),
        ({"candidates": [{"kind": "auto", "dataset": "train"}]}, 422, "/candidates/0", "auto"),
        ({"candidates": [{"kind": "interpolate"}]}, 422, "/candidates/0", "interpolate"),
        ({"candidates": [GAUSSIAN, {"kind": "vae"}]}, 422, "/candidates/1", "a family"),
        ({"candidates": [7]}, 422, "/candidates/0", "a candidate is"),
        ({"candidates": [GAUSSIAN | {"covariance": "round"}]}, 422, "/candidates/0/covariance", "diagonal"),
        ({"candidates": [{"family": {"kind": "normal"}}]}, 422, "/candidates/0/family", "gaussian"),
        ({"candidates": [{"kind": "prior", "labels": "balanced"}]}, 422, "/candidates/0", "leave labels out"),
    ],
)
def test_a_request_that_is_none_names_its_field(client, changes, status, pointer, says):
    check_refused(client.post("/v1/reports", json=asked(**changes)), status, pointer, says)


@pytest.mark.parametrize(
    ("changes", "status", "pointer", "says"),
    [
        ({"candidates": [{"family": GAUSSIAN, "by_label": True}]}, 422, "/candidates/0/by_label", "no labels"),
        ({"candidates": [{"kind": "aggregate", "fit": "f"}]}, 404, "/candidates/0/fit", "no fit"),
        ({"candidates": [{"kind": "posterior", "dataset": "d"}]}, 404, "/candidates/0/dataset", "no dataset"),
        ({"reference": "train"}, 422, "/reference", "itself"),
        ({"reference": "unknown"}, 404, "/reference", "unknown"),
        ({"model": "unknown"}, 404, "/model", "unknown"),
    ],
)
def test_a_request_for_what_does_not_fit_begins_nothing(client, model, dataset, worker, changes, status, pointer, says):
    check_refused(client.post("/v1/reports", json=asked(**changes)), status, pointer, says)
    assert client.get("/v1/reports").json()["data"] == []
    assert worker.items("encode") == []


def check_refused(refused, status, pointer, says):
    assert refused.status_code == status, refused.text
    (error,) = refused.json()["errors"]
    assert error["pointer"] == pointer
    assert says in error["message"]


@pytest.mark.parametrize(("field", "value"), [("seed", 1), ("holdout", 0.2)])
def test_a_fit_with_other_held_out_rows_is_refused(client, fit, field, value):
    refused = client.post("/v1/reports", json=asked(candidates=[{"kind": "aggregate", "fit": fit}], **{field: value}))
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/candidates/0/fit"
    assert f"ask for the report with the fit's {field}" in refused.json()["detail"]


def test_the_page_is_sent_to_who_would_see_it(client, model, dataset, create, worker):
    made = create(candidates=[{"kind": "prior"}])
    address = f"/v1/reports/{made['id']}"
    early = client.get(address, headers={"Accept": "text/html"})
    assert (early.status_code, early.json()["code"]) == (409, "not_ready")
    worker.encode()
    worker.report(CONTENT, page=b"<!doctype html><title>q(z)</title>")
    for accept in ("text/html", BROWSER, "text/*"):
        page = client.get(address, headers={"Accept": accept})
        assert page.content == b"<!doctype html><title>q(z)</title>"
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert "script" not in page.headers["Content-Security-Policy"]
    for accept in ("*/*", "application/json", "application/json, text/html;q=0.5", ""):
        assert client.get(address, headers={"Accept": accept}).json()["id"] == made["id"]
    assert client.get(address, headers={"Accept": "image/png"}).status_code == 406


def test_what_a_report_at_work_needs_is_in_use(client, model, dataset, create, worker):
    made = create(candidates=[GAUSSIAN])
    fit = made["candidates"][1]["fit"]
    for address in (f"models/{model}", f"datasets/{dataset}", f"fits/{fit}"):
        refused = client.delete(f"/v1/{address}")
        assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
        assert made["id"] in [error["message"] for error in refused.json()["errors"]]
    worker.encode()
    worker.fit()
    worker.report(CONTENT)
    assert any("/reports/" in key for key in worker.stored_keys())
    assert client.delete(f"/v1/datasets/{dataset}").status_code == 200
    assert client.get(f"/v1/reports/{made['id']}").json()["state"] == "ready"
    assert client.delete(f"/v1/reports/{made['id']}").json() == {"object": "report", "id": made["id"], "deleted": True}
    assert client.get(f"/v1/reports/{made['id']}").status_code == 410
    assert not any("/reports/" in key for key in worker.stored_keys())
    assert client.get(f"/v1/fits/{fit}").json()["state"] == "ready", "the fits stay"


def test_a_report_at_work_can_be_deleted(client, model, dataset, create, worker):
    made = create(candidates=[{"kind": "prior"}], name="r")
    assert client.delete("/v1/reports/r").status_code == 200
    worker.encode()
    assert worker.items("report") == []
    assert client.delete(f"/v1/datasets/{dataset}").status_code == 200
    assert client.get(f"/v1/reports/{made['id']}").status_code == 410


def test_a_name_is_taken_once(client, model, dataset, create):
    create(name="r")
    taken = client.post("/v1/reports", json=asked(name="r"))
    assert (taken.status_code, taken.json()["code"]) == (409, "name_taken")


def test_another_tenant_sees_nothing(stranger, model, dataset, create):
    made = create(name="r")
    assert stranger.get(f"/v1/reports/{made['id']}").status_code == 404
    assert stranger.get("/v1/reports/r").status_code == 404
    assert stranger.delete(f"/v1/reports/{made['id']}").status_code == 404
    assert stranger.get("/v1/reports").json()["data"] == []
    refused = stranger.post("/v1/reports", json=asked(model=model, dataset=dataset))
    assert refused.json()["errors"][0]["pointer"] == "/model"
