"""Every address of the API as another tenant, against what somebody else has: it is not there, and stays as it is.

The cases below must cover every operation of the OpenAPI document: a new one fails here until it has its case.
"""

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from latentmill.errors import DataError
from tests.service.test_reports_http import CONTENT, TWO
from tests.service.test_tenants_and_health import routes

PRIOR = {"kind": "prior"}


@dataclass(frozen=True)
class Case:
    """One request that names what is somebody else's; `{model}` and the like stand for ids."""

    operation: str
    address: str
    body: dict[str, Any] | None = None
    owner: str = "2"  # with what the status of the owner's own request begins: the case is not empty

    def send(self, caller: httpx.Client, names: dict[str, str]) -> httpx.Response:
        method, _, _ = self.operation.partition(" ")
        return caller.request(method, self.address.format(**names), json=filled(self.body, names))


def filled(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: filled(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, names) for inner in value]
    return value.format(**names) if isinstance(value, str) else value


def job(strategy: dict[str, Any], model: str = "{model}") -> dict[str, Any]:
    return {"model": model, "strategy": strategy, "rows": 4}


AGGREGATE = {"kind": "aggregate", "fit": "{fit}"}
POSTERIOR = {"kind": "posterior", "dataset": "{dataset}", "select": "all"}
INTERPOLATE = {"kind": "interpolate", "dataset": "{dataset}", "pairs": [[0, 1], [2, 3]], "steps": 2}
AUTO = {"kind": "auto", "dataset": "{dataset}"}
FIT = {"model": "{model}", "dataset": "{dataset}", "family": {"kind": "gaussian"}}
REPORT = {"model": "{model}", "dataset": "{dataset}"}

# In this order: what reads, what begins something new, what changes, what deletes.
CASES = [
    Case("GET /v1/models/{model}", "/v1/models/{model}"),
    Case("GET /v1/models/{model}", "/v1/models/digits"),
    Case("GET /v1/datasets/{dataset}", "/v1/datasets/{dataset}"),
    Case("GET /v1/datasets/{dataset}", "/v1/datasets/train?wait=0"),
    Case("GET /v1/fits", "/v1/fits?model={model}"),
    Case("GET /v1/fits", "/v1/fits?dataset={dataset}"),
    Case("GET /v1/fits/{fit}", "/v1/fits/{fit}"),
    Case("GET /v1/fits/{fit}/parameters", "/v1/fits/{fit}/parameters"),
    Case("GET /v1/reports", "/v1/reports?model={model}"),
    Case("GET /v1/reports", "/v1/reports?dataset={dataset}"),
    Case("GET /v1/reports/{report}", "/v1/reports/{report}"),
    Case("GET /v1/jobs", "/v1/jobs?model={model}"),
    Case("GET /v1/jobs/{job}", "/v1/jobs/{job}"),
    Case("GET /v1/jobs/{job}", "/v1/jobs/finished"),
    Case("GET /v1/jobs/{job}/events", "/v1/jobs/{job}/events"),
    Case("GET /v1/jobs/{job}/shards", "/v1/jobs/{job}/shards"),
    Case("GET /v1/jobs/{job}/shards/{index}", "/v1/jobs/{job}/shards/0"),
    Case("HEAD /v1/jobs/{job}/shards/{index}", "/v1/jobs/{job}/shards/0"),
    Case("GET /v1/jobs/{job}/manifest", "/v1/jobs/{job}/manifest"),
    Case("HEAD /v1/jobs/{job}/manifest", "/v1/jobs/{job}/manifest"),
    Case("GET /v1/jobs/{job}/files/{name}", "/v1/jobs/{job}/files/README.md"),
    Case("HEAD /v1/jobs/{job}/files/{name}", "/v1/jobs/{job}/files/SHA256SUMS"),
    Case("GET /v1/jobs/{job}/rows", "/v1/jobs/{job}/rows?first=1000", owner="422"),
    Case("POST /v1/jobs/plan", "/v1/jobs/plan", job(PRIOR)),
    Case("POST /v1/jobs/plan", "/v1/jobs/plan", job(AGGREGATE, model="{own_model}"), owner="404"),
    Case("POST /v1/jobs/plan", "/v1/jobs/plan", job(POSTERIOR, model="{own_model}"), owner="404"),
    Case("POST /v1/previews", "/v1/previews", {"model": "{model}", "strategy": PRIOR, "rows": 2}, owner="503"),
    Case(
        "POST /v1/previews", "/v1/previews", {**job(PRIOR, model="{own_model}"), "indices": [0], "job": "{job}"},
        owner="404",
    ),
    Case("POST /v1/fits", "/v1/fits", FIT),
    Case("POST /v1/fits", "/v1/fits", FIT | {"model": "{own_model}"}, owner="404"),
    Case("POST /v1/fits", "/v1/fits", FIT | {"dataset": "{own_dataset}"}, owner="404"),
    Case("POST /v1/reports", "/v1/reports", REPORT),
    Case("POST /v1/reports", "/v1/reports", REPORT | {"model": "{own_model}"}, owner="404"),
    Case("POST /v1/reports", "/v1/reports", REPORT | {"dataset": "{own_dataset}"}, owner="404"),
    Case(
        "POST /v1/reports", "/v1/reports",
        {"model": "{own_model}", "dataset": "{own_dataset}", "reference": "{dataset}"}, owner="404",
    ),
    Case(
        "POST /v1/reports", "/v1/reports",
        {"model": "{own_model}", "dataset": "{own_dataset}", "candidates": [AGGREGATE]}, owner="404",
    ),
    Case("POST /v1/jobs", "/v1/jobs", job(PRIOR)),
    *(
        Case("POST /v1/jobs", "/v1/jobs", job(strategy, model="{own_model}"), owner="404")
        for strategy in (AGGREGATE, POSTERIOR, INTERPOLATE, AUTO)
    ),
    Case("POST /v1/jobs/{job}/cancel", "/v1/jobs/{live_job}/cancel"),
    Case("POST /v1/jobs/{job}/retry", "/v1/jobs/{failed_job}/retry"),
    Case("DELETE /v1/jobs/{job}", "/v1/jobs/{job}"),
    Case("DELETE /v1/reports/{report}", "/v1/reports/{report}"),
    Case("DELETE /v1/fits/{fit}", "/v1/fits/{fit}", owner="409"),  # a report needs it by now
    Case("DELETE /v1/datasets/{dataset}", "/v1/datasets/{dataset}", owner="409"),
    Case("DELETE /v1/models/{model}", "/v1/models/{model}", owner="409"),
]  # fmt: skip

LISTS = ("models", "datasets", "fits", "reports", "jobs")
NAME_NOTHING = {  # of anybody's
    "GET /healthz", "GET /readyz", "GET /metrics", "GET /v1/limits", "POST /v1/models", "POST /v1/datasets",
    "GET /v1/jobs/{job}/archive",  # 501 for everybody
}  # fmt: skip


@pytest.fixture
def theirs(client, upload, worker, model, dataset, fit) -> dict[str, str]:
    """One of everything, of `client`'s tenant: ids by noun."""

    def made(path: str, **body: Any) -> str:
        answer = client.post(f"/v1/{path}", json=body)
        assert answer.is_success, answer.text
        return str(answer.json()["id"])

    report = made("reports", model=model, dataset=dataset, candidates=TWO)
    worker.fit()
    worker.report(CONTENT)
    finished = made("jobs", **job(PRIOR, model), name="finished")
    worker.shard()
    worker.finalize()
    failed = made("jobs", **job(PRIOR, model))
    worker.fail("shard", DataError("no numbers"))
    live = made("jobs", **job(PRIOR, model))
    return {
        "model": model, "dataset": dataset, "fit": fit, "report": report, "job": finished, "failed_job": failed,
        "live_job": live,
    }  # fmt: skip


@pytest.fixture
def own(stranger) -> dict[str, str]:
    """What the stranger has: a model and a dataset that are not ready, but there."""
    names = {}
    for noun in ("model", "dataset"):
        made = stranger.post(f"/v1/{noun}s", files={"file": ("a", b"own bytes")}, data={"name": f"own-{noun}"})
        names[f"own_{noun}"] = made.json()["id"]
    return names


def test_what_is_anothers_is_not_there_at_any_address(server, client, stranger, theirs, own):
    names = theirs | own
    operations = {f"{method} {path}" for method, path in routes(server)}
    listed = {f"GET /v1/{noun}" for noun in LISTS}
    assert operations - {case.operation for case in CASES} - listed - NAME_NOTHING == set(), "these have no case"
    before = everything(client)
    nothing = {noun: f"{noun[:3]}_never_was" for noun in theirs} | own
    for case in CASES:
        answer = case.send(stranger, names)
        assert answer.status_code == 404, (case, answer.text)
        assert "HEAD" in case.operation or answer.json()["code"] == "not_found", case
        assert told(answer, names) == told(case.send(stranger, nothing), nothing), "as if it had never been"
    assert everything(client) == before, "nothing of it has changed"
    for noun in LISTS:
        shown = {item["id"] for item in stranger.get(f"/v1/{noun}").json()["data"]}
        assert shown <= set(own.values())
    for case in CASES:
        assert str(case.send(client, names).status_code).startswith(case.owner), f"{case} is no case"


def test_the_same_key_of_two_tenants_is_two_keys(client, stranger):
    answers = [
        caller.post(
            "/v1/models", files={"file": ("a", b"bytes")}, data={"name": "n"}, headers={"Idempotency-Key": "same"}
        )
        for caller in (client, stranger, client)
    ]
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    ids = [answer.json()["id"] for answer in answers]
    assert ids[0] == ids[2] != ids[1], "nor is a model of the same bytes the same"


def told(answer: httpx.Response, names: dict[str, str]) -> tuple[int, str]:
    """What an answer says, but for the ids that were asked for and the request's own."""
    text = answer.text.replace(answer.headers["x-request-id"], "")
    for noun, name in names.items():
        text = text.replace(name, noun)
    return answer.status_code, text


def everything(client: httpx.Client) -> dict[str, Any]:
    return {noun: client.get(f"/v1/{noun}").json()["data"] for noun in LISTS}
