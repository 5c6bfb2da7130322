"""The strategy `auto`: what the newest ready report recommends, resolved when the job is submitted."""

import pytest

from latentmill.errors import DataError

GAUSSIAN = {"kind": "gaussian"}
BODY = {"model": "digits", "strategy": {"kind": "auto", "dataset": "train"}, "rows": 100}


@pytest.fixture
def report(client, fit, worker):
    """Makes a ready report of `digits` and `train` that recommends a strategy, or nothing."""

    def make(strategy, reason="Because."):
        made = client.post("/v1/reports", json={"model": "digits", "dataset": "train", "candidates": [GAUSSIAN]})
        assert made.status_code == 202, made.text
        worker.report({"recommendation": {"strategy": strategy, "reason": reason, "evidence": "clear"}})
        return made.json()["id"]

    return make


def test_auto_is_what_the_newest_report_recommends(client, fit, report, worker):
    report({"kind": "prior"})
    newest = report({"kind": "aggregate", "fit": fit})
    planned = client.post("/v1/jobs/plan", json=BODY)
    assert planned.json()["spec"]["strategy"]["fit"] == fit
    job = client.post("/v1/jobs", json=BODY).json()
    assert job["spec"]["strategy"] == {"kind": "aggregate", "fit": fit, "temperature": 1.0, "labels": None}
    assert job["report"] == newest
    worker.shard()
    manifest = worker.finalize().manifest
    assert manifest["strategy"]["fit"] == manifest["fit"]["id"] == fit
    assert manifest["report"] == newest
    assert client.delete(f"/v1/reports/{newest}").status_code == 200
    assert client.post("/v1/jobs", json=BODY).json()["spec"]["strategy"]["kind"] == "prior"
    assert client.get(f"/v1/jobs/{job['id']}").json()["spec"]["strategy"]["fit"] == fit


def test_a_job_that_names_its_strategy_has_no_report(client, report):
    report({"kind": "prior"})
    job = client.post("/v1/jobs", json=BODY | {"strategy": {"kind": "prior"}}).json()
    assert job["report"] is None


def test_labels_go_with_the_recommended_strategy(client, report):
    report({"kind": "prior"})
    refused = client.post("/v1/jobs", json=BODY | {"strategy": BODY["strategy"] | {"labels": "balanced"}})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_labels")


def test_without_a_ready_report_there_is_nothing_to_resolve(client, stranger, fit, worker):
    def refused(by=client):
        answer = by.post("/v1/jobs", json=BODY)
        assert answer.status_code == 409, answer.text
        return answer.json()

    assert refused()["code"] == "no_report"
    assert "latentmill report mdl_" in refused()["detail"]
    body = {"model": "digits", "dataset": "train", "candidates": [GAUSSIAN]}
    failed = client.post("/v1/reports", json=body).json()["id"]
    assert refused()["code"] == "no_report", "one at work does not count"
    worker.fail("report", DataError("NaN"))
    assert client.get(f"/v1/reports/{failed}").json()["state"] == "failed"
    assert refused()["code"] == "no_report"
    assert stranger.post("/v1/jobs", json=BODY).status_code == 404


def test_a_report_that_recommends_nothing_says_why(client, report):
    newest = report(None, reason="Only 40 rows are held out.")
    refused = client.post("/v1/jobs", json=BODY).json()
    assert (refused["code"], refused["errors"][0]["pointer"]) == ("no_report", "/strategy")
    assert refused["detail"].startswith(f"{newest} recommends no strategy: Only 40 rows")


def test_a_recommended_fit_that_was_deleted_is_named(client, fit, report):
    newest = report({"kind": "aggregate", "fit": fit})
    assert client.delete(f"/v1/fits/{fit}").status_code == 200
    refused = client.post("/v1/jobs", json=BODY)
    assert (refused.status_code, refused.json()["code"]) == (409, "not_ready")
    assert newest in refused.json()["detail"]
    assert fit in refused.json()["detail"]


def test_a_deleted_dataset_has_no_recommendation(client, dataset, report):
    report({"kind": "prior"})
    assert client.delete(f"/v1/datasets/{dataset}").status_code == 200
    refused = client.post("/v1/jobs", json=BODY | {"strategy": {"kind": "auto", "dataset": dataset}})
    assert (refused.status_code, refused.json()["code"]) == (409, "not_ready")
