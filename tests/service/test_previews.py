"""Previews over HTTP: what is asked of a worker, what is refused at once, and when a client has waited enough."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from latentmill.errors import DataError, Gone, NotAcceptable
from service.accept import preferred
from service.previews import operations
from service.previews.stored import StoredWork
from service.tables import PreviewRow
from service.work import FenceLost
from tests.service.steps import Worker, vae

PRIOR = {"kind": "prior"}
PNG = {"Accept": "image/png"}


def body(**changes: Any) -> dict[str, Any]:
    return {"model": "digits", "strategy": PRIOR, "rows": 3} | changes


@pytest.fixture
def asked(client: httpx.Client) -> Iterator[Callable[..., "Future[httpx.Response]"]]:
    """Asks for a preview on a thread of its own, so that the test can be the worker."""
    with ThreadPoolExecutor(2) as threads:

        def send(headers: dict[str, str] | None = None, **changes: Any) -> "Future[httpx.Response]":
            return threads.submit(client.post, "/v1/previews", json=body(**changes), headers=headers)

        yield send


def until_there(worker: Worker, kind: str) -> None:
    deadline = time.monotonic() + 5
    while not worker.items(kind):
        assert time.monotonic() < deadline, f"no item of kind {kind}"
        time.sleep(0.005)


@pytest.mark.parametrize(("headers", "media_type"), [(None, "application/json"), (PNG, "image/png")])
def test_the_answer_is_what_the_worker_made(asked, model, worker, headers, media_type):
    waiting = asked(headers, indices=[7, 0, 900], seed=5)
    until_there(worker, "preview")
    item = worker.items("preview")[0]
    assert (item.queue, item.priority) == ("prompt", 10)
    work = worker.preview(b"what the worker made")
    answer = waiting.result(10)
    assert (answer.status_code, answer.content) == (200, b"what the worker made")
    assert answer.headers["Content-Type"] == media_type
    assert (work.model_id, work.indices, work.seed, work.media_type) == (model, (7, 0, 900), 5, media_type)
    assert (work.request.rows, work.request.output, work.execution.batch_rows) == (3, "mean", 256)
    assert work.job_id is None


def test_rows_of_a_fit_and_of_labels_are_those_of_a_job(asked, client, upload, fit, worker):
    waiting = asked(strategy={"kind": "aggregate", "fit": fit}, rows=None)
    until_there(worker, "preview")
    work = worker.preview()
    assert work.fit is not None
    assert (work.fit.parameters, work.indices) == (b"parameters", tuple(range(8)))
    assert waiting.result(10).status_code == 200

    upload("models", b"conditional", name="conditional")
    worker.inspect(vae(labels={"classes": ["0", "1", "2"]}))
    waiting = asked(model="conditional", rows=5)
    until_there(worker, "preview")
    assert worker.preview().label_counts == {"0": 2, "1": 2, "2": 1}
    assert waiting.result(10).status_code == 200


def test_rows_of_a_job_come_with_all_that_the_job_has(asked, client, model, worker):
    described = {"model": model, "strategy": PRIOR | {"temperature": 0.5}, "rows": 1000, "seed": 9}
    job = client.post("/v1/jobs", json=described | {"execution": {"batch_rows": 64}}).json()
    waiting = asked(model=model, strategy=None, rows=None, job=job["id"], indices=[999])
    until_there(worker, "preview")
    work = worker.preview()
    assert waiting.result(10).status_code == 200
    assert work.request.canonical() == job["spec"] | {"include_latents": False}
    assert (work.seed, work.execution.batch_rows, work.indices, work.job_id) == (9, 64, (999,), job["id"])
    # What is said beside the job is allowed where it says the same, names resolved.
    same = body(job=job["id"], strategy=described["strategy"], seed=9, output="mean", indices=[1, 2, 3])
    waiting = asked(**same)
    until_there(worker, "preview")
    worker.preview()
    assert waiting.result(10).status_code == 200


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"seed": 8}, "/seed"),
        ({"output": "sample"}, "/output"),
        ({"strategy": PRIOR | {"temperature": 0.5}}, "/strategy"),
        ({"indices": [0, 1000]}, "/indices/1"),
        ({"indices": [0, 1], "rows": 3}, "/rows"),
        ({"model": "other"}, "/model"),
        ({"model": "unknown"}, "/model"),
    ],
)
def test_what_contradicts_the_job_is_refused(client, upload, model, worker, change, pointer):
    upload("models", b"another bundle", name="other")
    worker.inspect()
    job = client.post("/v1/jobs", json={"model": model, "strategy": PRIOR, "rows": 1000, "seed": 9}).json()
    refused = client.post("/v1/previews", json={"job": job["id"]} | change)
    assert refused.json()["errors"][0]["pointer"] == pointer, refused.text
    assert worker.items("preview") == []


def test_a_job_whose_rows_are_not_fixed_or_cannot_be_made_again(client, stranger, upload, fit, dataset, worker):
    def refused(job: str, by: httpx.Client = client) -> tuple[int, str]:
        answer = by.post("/v1/previews", json={"job": job, "indices": [0]})
        assert answer.json()["errors"][0]["pointer"] == "/job"
        return answer.status_code, answer.json()["detail"]

    upload("models", b"not inspected", name="new")
    waiting = client.post("/v1/jobs", json={"model": "new", "strategy": PRIOR, "rows": 10}).json()["id"]
    assert refused(waiting) == (409, f"{waiting} is queued ({job_reason(client, waiting)}) and never began: "
                                     "its rows are not fixed.")  # fmt: skip
    assert refused(waiting, stranger)[0] == 404
    assert refused("job_unknown")[0] == 404
    client.delete(f"/v1/jobs/{waiting}")
    assert refused(waiting) == (409, f"{waiting} was deleted.")

    aggregate = {"model": "digits", "strategy": {"kind": "aggregate", "fit": fit}, "rows": 10}
    job = client.post("/v1/jobs", json=aggregate).json()["id"]
    client.post(f"/v1/jobs/{job}/cancel")
    client.delete(f"/v1/fits/{fit}")
    status, detail = refused(job)
    assert status == 409
    assert f"/v1/jobs/{job}/rows" in detail


def job_reason(client: httpx.Client, job: str) -> str:
    return str(client.get(f"/v1/jobs/{job}").json()["state_reason"])


@pytest.mark.parametrize(
    ("change", "headers", "status", "pointer"),
    [
        ({"rows": 65}, None, 422, "/rows"),
        ({"rows": 0}, None, 422, "/rows"),
        ({"indices": []}, None, 422, "/indices"),
        ({"indices": [-1], "rows": None}, None, 422, "/indices/0"),
        ({"indices": [1, 2]}, None, 422, "/rows"),
        ({"model": None}, None, 422, "/model"),
        ({"strategy": None}, None, 422, "/strategy"),
        ({"model": "unknown"}, None, 404, "/model"),
        ({"model": "new"}, None, 409, "/model"),
        ({"strategy": {"kind": "aggregate", "fit": "none"}}, None, 404, "/strategy/fit"),
        ({"strategy": {"kind": "prior", "labels": {"counts": {"0": 3}}}}, None, 422, "/strategy/labels"),
        ({"strategy": {"kind": "auto", "dataset": "none"}}, None, 404, "/strategy/dataset"),
        ({"nonsense": 1}, None, 422, "/nonsense"),
        ({"model": "series"}, PNG, 406, "/model"),
        ({"model": "series", "rows": 64}, None, 422, "/indices"),
        ({"include_latents": True}, PNG, 422, "/include_latents"),
    ],
)
def test_a_bad_request_names_its_field_at_once(client, upload, model, worker, change, headers, status, pointer):
    upload("models", b"series", name="series")
    worker.inspect(vae(rows={"kind": "series", "steps": 10_000, "features": ["a", "b"]}))
    upload("models", b"not inspected", name="new")
    refused = client.post("/v1/previews", json=body(**change), headers=headers)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (status, pointer), refused.text
    assert worker.items("preview") == []


def test_without_a_worker_the_client_is_told_to_come_back(client, model, worker):
    began = time.monotonic()
    refused = client.post("/v1/previews", json=body())
    assert 1.4 < time.monotonic() - began < 8  # the client would give up after ten
    assert (refused.status_code, refused.json()["code"], refused.json()["retryable"]) == (503, "unavailable", True)
    assert int(refused.headers["Retry-After"]) > 0
    assert "none is alive" in refused.json()["detail"]
    assert (worker.items("preview"), len(worker.items("preview", "cancelled"))) == ([], 1)


def test_a_worker_that_is_too_late_publishes_nothing(client, model, worker, asked):
    waiting = asked()
    until_there(worker, "preview")
    held = worker.take("preview")
    with worker.server.database.writing() as session:
        operations.give_up(session, held.subject_id)
    assert waiting.result(10).status_code == 503
    with pytest.raises(FenceLost), worker.server.database.writing() as session:
        operations.commit_preview(session, held, content=b"late")


def test_a_client_that_has_gone_leaves_no_work_behind(client, model, worker):
    """And that sooner than without a worker, which takes 1.5 seconds: once of three times, as machines may be busy."""
    lived = []
    while not lived or (min(lived) > 1.4 and len(lived) < 3):
        began = time.monotonic()
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/previews", json=body(seed=len(lived)), timeout=0.2)
        while len(items := worker.items("preview", "cancelled")) <= len(lived):
            assert time.monotonic() - began < 8
            time.sleep(0.02)
        lived = [(item.finished_at - item.created_at).total_seconds() for item in items]
    assert min(lived) < 1.4, lived


def test_an_error_of_the_worker_is_the_answer(asked, model, worker):
    waiting = asked()
    until_there(worker, "preview")
    worker.fail("preview", DataError("The decoder gave NaN", pointer="/strategy"))
    refused = waiting.result(10)
    assert (refused.status_code, refused.json()["code"]) == (422, "data_error")
    assert refused.json()["errors"][0]["pointer"] == "/strategy"
    assert refused.json()["request_id"] == refused.headers["x-request-id"]


def test_a_missing_encoding_is_begun_and_waited_for_a_little(asked, client, model, dataset, worker):
    around = {"strategy": {"kind": "posterior", "dataset": "train"}}
    refused = client.post("/v1/previews", json=body(**around))
    assert (refused.status_code, refused.json()["code"]) == (409, "not_ready")
    assert refused.json()["errors"][0]["pointer"] == "/strategy/dataset"
    assert "being encoded" in refused.json()["detail"]
    waiting = asked(**around)
    worker.encode()
    until_there(worker, "preview")
    assert worker.preview().encoding is not None
    assert waiting.result(10).status_code == 200


def test_stored_rows_are_read_by_a_worker_from_committed_shards(client, model, worker):
    job = client.post("/v1/jobs", json={"model": model, "strategy": PRIOR, "rows": 1000, "shard_rows": 300}).json()
    rows = f"/v1/jobs/{job['id']}/rows"
    worker.shard()
    worker.shard(worker.take("shard"))
    refused = client.get(rows, params={"first": 590, "count": 11})
    assert (refused.status_code, refused.json()["code"]) == (409, "not_ready")
    assert "Rows 600 to 899" in refused.json()["detail"]
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(client.get, rows, params={"first": 290, "count": 20})
        until_there(worker, "preview")
        work = worker.preview(b"rows")
        assert (waiting.result(10).status_code, waiting.result().content) == (200, b"rows")
        assert isinstance(work, StoredWork)
        assert [(part.first, part.stop) for part in work.parts] == [(290, 300), (0, 10)]
        assert (work.first, work.format) == (290, "npz")
        assert {part.key for part in work.parts} <= set(worker.stored_keys())

        waiting = threads.submit(client.get, rows, params={"first": 10, "count": 20})
        until_there(worker, "preview")
        client.delete(f"/v1/jobs/{job['id']}")
        held = worker.take("preview")
        with pytest.raises(Gone), worker.server.database.writing() as session:
            operations.preview_work_of(session, held)
        with worker.server.database.writing() as session:
            worker.outcomes.given_up(session, held, Gone(f"{job['id']} was deleted.").problem())
        assert waiting.result(10).status_code == 410


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"first": 1000}, "/first"), ({"first": -1}, "/first"), ({"first": 10**13}, "/first"), ({"count": 0}, "/count"),
        ({"count": 1001}, "/count"), ({"first": "x"}, "/first"),
    ],
)  # fmt: skip
def test_rows_that_there_are_not_are_refused(client, stranger, model, worker, query, pointer):
    job = client.post("/v1/jobs", json={"model": model, "strategy": PRIOR, "rows": 1000}).json()
    refused = client.get(f"/v1/jobs/{job['id']}/rows", params=query)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer)
    assert stranger.get(f"/v1/jobs/{job['id']}/rows").status_code == 404
    assert client.get(f"/v1/jobs/{job['id']}/rows").json()["code"] == "not_ready"


def test_previews_are_dropped_soon_also_those_that_nobody_took(asked, model, worker):
    settings = worker.server.services.settings.work
    waiting = asked()
    until_there(worker, "preview")
    preview = worker.items("preview")[0].subject_id
    with worker.server.database.writing() as session:
        operations.drop_old(session, settings)
        assert session.get(PreviewRow, preview) is not None
        operations.drop_old(session, settings.model_copy(update={"keep_previews_seconds": 1e-6}))
        assert session.get(PreviewRow, preview) is None
    assert waiting.result(10).status_code == 503
    assert worker.items("preview") == []


@pytest.mark.parametrize(
    ("accept", "best"),
    [
        (None, "a/json"), ("", "a/json"), ("*/*", "a/json"), ("b/png", "b/png"), ("b/*, */*;q=0.8", "b/png"),
        ("a/json;q=0.2, b/png;q=0.3", "b/png"), ("b/png;q=0, */*", "a/json"), ("text/html, */*;q=0.1", "a/json"),
        ("b/png, */*", "b/png"), ("B/PNG;q=x", "b/png"),
    ],
)  # fmt: skip
def test_the_media_type_is_what_the_client_likes_best(accept, best):
    assert preferred(accept, ("a/json", "b/png")) == best


@pytest.mark.parametrize("accept", ["text/html", "a/json;q=0, b/png;q=0"])
def test_no_media_type_that_the_client_likes_is_an_error(client, model, accept):
    with pytest.raises(NotAcceptable, match="a/json or b/png"):
        preferred(accept, ("a/json", "b/png"))
    refused = client.post("/v1/previews", json=body(), headers={"Accept": "text/html"})
    assert (refused.status_code, refused.json()["code"]) == (406, "not_acceptable")
