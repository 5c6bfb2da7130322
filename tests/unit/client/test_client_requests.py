"""Retries, problems and waiting: what a request goes through before a user sees its answer."""

import socket
import time

import pytest

from latentmill.client import Client
from latentmill.errors import (
    DataError,
    InvalidRequest,
    LatentmillError,
    NotFound,
    NotYet,
    TooManyRequests,
    Unavailable,
    Unreachable,
    WaitTimedOut,
)

MODEL = {"object": "model", "id": "mdl_1", "name": "m", "state": "ready", "error": None, "warnings": []}


def test_a_busy_service_is_asked_again(peer, client, replies) -> None:
    peer.documents["/v1/models/mdl_1"] = MODEL
    peer.first(
        "GET /v1/models/mdl_1",
        replies.problem(Unavailable(), **{"Retry-After": "0"}),
        replies.problem(TooManyRequests(), **{"Retry-After": "0"}),
    )
    assert client.models.get("mdl_1").state == "ready"
    assert len(peer.requests) == 3
    assert peer.requests[0].headers["Authorization"] == "Bearer lm_k1_secret"


def test_retry_after_beyond_all_patience_is_raised_at_once(peer, client, replies) -> None:
    peer.first("GET /v1/models/mdl_1", replies.problem(TooManyRequests("later"), **{"Retry-After": "3600"}))
    with pytest.raises(TooManyRequests, match="later"):
        client.models.get("mdl_1")
    assert len(peer.requests) == 1


def test_a_lost_answer_to_a_creating_post_is_repeated_under_one_key(peer, client, replies) -> None:
    peer.documents["/v1/jobs"] = replies.job("job_1", "queued")
    peer.first("POST /v1/jobs", replies.DROP, replies.problem(Unavailable(), **{"Retry-After": "0"}))
    job = client.jobs.create("m", strategy={"kind": "prior"}, rows=30)
    assert job.id == "job_1"
    keys = {request.headers["Idempotency-Key"] for request in peer.asked("POST /v1/jobs")}
    assert len(peer.requests) == 3
    assert len(keys) == 1
    assert None not in keys
    client.jobs.create("m", strategy={"kind": "prior"}, rows=30)
    assert peer.requests[-1].headers["Idempotency-Key"] not in keys


def test_what_must_not_be_repeated_is_not(peer, client, replies) -> None:
    peer.first("DELETE /v1/models/m", replies.problem(Unavailable("away"), **{"Retry-After": "0"}))
    with pytest.raises(Unavailable, match="away"):
        client.models.delete("m")
    peer.first("DELETE /v1/models/m", replies.DROP)
    with pytest.raises(Unreachable):
        client.models.delete("m")
    assert len(peer.requests) == 2


def test_a_problem_is_raised_as_its_error(peer, client, replies) -> None:
    peer.first("POST /v1/fits", replies.problem(InvalidRequest("no such family", pointer="/family/kind")))
    with pytest.raises(InvalidRequest, match="no such family") as caught:
        client.fits.create("m", "d", family={"kind": "nothing"})
    assert caught.value.errors[0].pointer == "/family/kind"
    assert caught.value.request_id == "req_1"
    peer.first("POST /v1/reports", replies.problem(NotYet()))
    with pytest.raises(NotYet):
        client.reports.create("m", "d")


def test_an_answer_that_is_not_the_services_is_named(peer, client) -> None:
    peer.first("GET /v1/models/a", (404, {"Content-Type": "text/html"}, b"<h1>nginx</h1>"))
    peer.first("GET /v1/models/b", (200, {"Content-Type": "text/html"}, b"<h1>nginx</h1>"))
    with pytest.raises(LatentmillError, match=r"404 Not Found: <h1>nginx"):
        client.models.get("a")
    with pytest.raises(LatentmillError, match="is it Latentmill"):
        client.models.get("b")


def test_no_service_is_said_within_seconds() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        began = time.monotonic()
        with Client(f"http://127.0.0.1:{unused.getsockname()[1]}", "k") as client:
            with pytest.raises(Unreachable, match="does not answer"):
                client.models.list()
    assert time.monotonic() - began < 30, "of the minute that a service gets which answered before"


@pytest.mark.parametrize("url", ["localhost:8321", "ftp://host", "http://", "http://[::1"])
def test_an_address_that_is_none_is_refused(url) -> None:
    with pytest.raises(InvalidRequest, match="is not an address"):
        Client(url, "k")


def test_names_with_any_character_are_one_path_segment(peer, client) -> None:
    with pytest.raises(NotFound):
        client.models.get("a b/../c?d")
    assert peer.requests[0].path == "/v1/models/a%20b%2F..%2Fc%3Fd"


def test_lists_follow_their_cursor(peer, client, replies) -> None:
    pages = {None: (["mdl_1", "mdl_2"], "next"), "next": (["mdl_3"], None)}

    def page(request):
        ids, cursor = pages[request.query.get("cursor", [None])[0]]
        return replies.json({"data": [{**MODEL, "id": one} for one in ids], "next_cursor": cursor})

    peer.answer = page
    assert [model.id for model in client.models.list()] == ["mdl_1", "mdl_2", "mdl_3"]
    assert [model.id for model in client.models.list(2)] == ["mdl_1", "mdl_2"]


def test_resources_and_numpy_numbers_stand_in_bodies(peer, client, replies) -> None:
    import json

    import numpy as np

    from latentmill.resources import Fit, Model

    peer.documents["/v1/jobs"] = replies.job("job_1", "queued")
    transport = client.models._transport
    model, fit = Model(transport, MODEL), Fit(transport, {**MODEL, "id": "fit_1"})
    client.jobs.create(model, strategy={"kind": "aggregate", "fit": fit}, rows=np.int64(5), seed=None)
    body = json.loads(peer.requests[0].body)
    assert body == {"model": "mdl_1", "strategy": {"kind": "aggregate", "fit": "fit_1"}, "rows": 5}


def test_wait_polls_until_the_end_and_tells_progress(peer, client, replies) -> None:
    states = ["running", "running", "finalizing", "succeeded"]
    peer.answer = lambda request: replies.json(replies.job("job_1", states.pop(0)))
    seen = []
    job = client.jobs.get("job_1").wait(progress=lambda job: seen.append(job.state))
    assert seen == ["running", "running", "finalizing", "succeeded"]
    assert job.state == "succeeded"
    assert peer.requests[1].query["wait"] == ["1"]


def test_wait_holds_long_requests_without_a_watcher(peer, client, replies) -> None:
    states = ["queued", "succeeded"]
    peer.answer = lambda request: replies.json(replies.job("job_1", states.pop(0)))
    client.jobs.get("job_1").wait()
    assert peer.requests[1].query["wait"] == ["30"]


def test_wait_raises_the_resources_own_error(peer, client, replies) -> None:
    problem = DataError("row 17 has NaN").problem().model_dump()
    peer.documents["/v1/models/mdl_1"] = {**MODEL, "state": "rejected", "error": problem}
    with pytest.raises(DataError, match="row 17 has NaN"):
        client.models.get("mdl_1").wait()
    peer.documents["/v1/jobs/job_1"] = replies.job("job_1", "cancelled")
    with pytest.raises(LatentmillError, match="job job_1 was cancelled"):
        client.jobs.get("job_1").wait()


def test_wait_ends_when_its_time_is_over(peer, client, replies) -> None:
    peer.documents["/v1/jobs/job_1"] = replies.job("job_1", "running")
    job = client.jobs.get("job_1")
    with pytest.raises(WaitTimedOut, match="still running"):
        job.wait(0.2)


def test_wait_outlives_a_restart_of_the_service(peer, client, replies) -> None:
    peer.documents["/v1/jobs/job_1"] = replies.job("job_1", "succeeded")
    peer.first("GET /v1/jobs/job_1", replies.json(replies.job("job_1", "running")), *[replies.DROP] * 4)
    assert client.jobs.get("job_1").wait().state == "succeeded"


def test_a_field_that_is_not_there_is_named(peer, client) -> None:
    peer.documents["/v1/models/mdl_1"] = {**MODEL, "digest": "d"}
    model = client.models.get("mdl_1")
    assert model.digest == "d"
    assert repr(model) == "<model mdl_1 'm': ready>"
    with pytest.raises(AttributeError, match="a model has no 'diagnostics'"):
        _ = model.diagnostics
