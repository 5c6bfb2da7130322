"""The edges of the contract: what a client may send that nobody thinks of, and what it is promised all the same."""

import json
import socket
import time

import pytest

from latentmill.errors import InvalidBundle
from latentmill.specs.bundle import Labels
from tests.service.steps import vae

MANY_DIGITS = "9" * 5000
JOB = {"model": "digits", "strategy": {"kind": "prior"}, "rows": 100}


def created(client, **changes):
    answer = client.post("/v1/jobs", json=JOB | changes)
    assert answer.status_code == 202, answer.text
    return answer.json()["urls"]["self"]


@pytest.mark.parametrize(
    ("asked", "status", "range_"),
    [
        (f"bytes={MANY_DIGITS}-", 200, None),
        (f"bytes={'9' * 30}-", 416, "bytes */{size}"),
        (f"bytes=0-{'9' * 30}", 206, "bytes 0-{last}/{size}"),
        (f"bytes=-{'9' * 30}", 206, "bytes 0-{last}/{size}"),
        ("Bytes=0-3", 206, "bytes 0-3/{size}"),
        ("bytes=0-1,4-5", 200, None),
    ],
)
def test_any_range_is_answered(client, model, worker, asked, status, range_):
    job = created(client)
    worker.shard()
    size = int(client.head(f"{job}/shards/0").headers["Content-Length"])
    answer = client.get(f"{job}/shards/0", headers={"Range": asked})
    wanted = range_ and range_.format(size=size, last=size - 1)
    assert (answer.status_code, answer.headers.get("Content-Range")) == (status, wanted)


def test_numbers_beyond_all_bounds_are_refused(client, upload, model, worker):
    job = created(client)
    for number in (MANY_DIGITS, "9" * 25):
        assert client.get(f"{job}/events", headers={"Last-Event-ID": number}).status_code == 422
    assert client.get(f"{job}/shards/{'9' * 25}").status_code == 404
    assert client.get(f"{job}/shards?cursor=OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk").status_code == 422
    upload("models", b"another", name="later")
    unplanned = created(client, model="later")
    assert client.get(f"{unplanned}/shards/{'9' * 25}").status_code == 409


def test_a_cancel_that_changes_nothing_leaves_the_etag(client, model, worker):
    job = created(client)
    worker.shard()
    worker.finalize()
    before = client.get(job).headers["ETag"]
    assert client.post(f"{job}/cancel").status_code == 200
    assert client.get(job, headers={"If-None-Match": before}).status_code == 304


def test_the_manifest_has_a_head(client, model, worker):
    job = created(client)
    worker.shard()
    worker.finalize()
    assert client.head(f"{job}/manifest").headers["ETag"] == client.get(f"{job}/manifest").headers["ETag"]


def test_a_405_names_every_method(client):
    answer = client.put("/v1/jobs/any")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "DELETE, GET")
    assert client.put("/v1/jobs").headers["Allow"] == "GET, POST"


def test_what_is_to_come_under_a_job_is_gone_with_it(client, stranger, model):
    job = created(client)
    assert client.get(f"{job}/archive").json()["code"] == "not_yet"
    client.delete(job)
    assert [client.get(f"{job}/{part}").status_code for part in ("rows", "archive")] == [410, 410]
    assert [stranger.get(f"{job}/{part}").status_code for part in ("rows", "archive")] == [404, 501]


@pytest.mark.parametrize("to", ["models", "datasets"])
def test_uploads_take_metadata(client, upload, to):
    made = upload(to, metadata=json.dumps({"run": "7"}))
    assert (made.status_code, made.json()["metadata"]) == (202, {"run": "7"})
    assert upload(to).json()["id"] == made.json()["id"]
    for wrong in ("{", "[]", '{"a": 1}', json.dumps({str(number): "" for number in range(17)})):
        refused = upload(to, b"others", metadata=wrong)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/metadata")


def test_a_rejected_upload_is_tried_again_with_its_new_metadata(client, upload, worker):
    made = upload("models", metadata='{"run": "1"}').json()["id"]
    worker.reject_model(InvalidBundle())
    again = upload("models", metadata='{"run": "2"}').json()
    assert (again["id"], again["state"], again["metadata"]) == (made, "inspecting", {"run": "2"})


def test_a_dataset_is_known_by_its_bytes_and_not_by_its_file_name(client, upload):
    made = upload("datasets", b"rows", "train.npz").json()["id"]
    same = upload("datasets", b"rows", "/tmp/other.NPZ")
    assert (same.status_code, same.json()["id"]) == (200, made)
    assert upload("datasets", b"rows", "train.csv").status_code == 202


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"rows": "100"}, "/rows"),
        ({"seed": True}, "/seed"),
        ({"strategy": {"kind": "prior", "temperature": "1"}}, "/strategy/temperature"),
        ({"strategy": {"kind": "posterior", "dataset": "d", "select": {"rows": [0, -5]}}}, "/strategy/select/rows/1"),
        ({"strategy": {"kind": "posterior", "dataset": "d", "select": {"label": 0.5}}}, "/strategy/select/label"),
        ({"strategy": {"kind": "posterior", "dataset": "d", "select": {}}}, "/strategy/select/rows"),
        ({"strategy": {"kind": "posterior", "dataset": "d", "select": "some"}}, "/strategy/select"),
    ],
)
def test_what_is_wrong_is_named_once(client, changes, pointer):
    answer = client.post("/v1/jobs", json=JOB | changes)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_a_bad_name_is_answered_with_the_rule(client):
    (error,) = client.post("/v1/jobs", json=JOB | {"name": "a/b"}).json()["errors"]
    assert (error["pointer"], "without slashes" in error["message"]) == ("/name", True)


def test_an_integer_label_is_its_text(client, upload, model, worker):
    upload("datasets", b"rows", "train.npz", name="train")
    worker.read(labels={"3": 60, "4": 40})
    strategy = {"kind": "posterior", "dataset": "train", "select": {"label": 3}}
    made = client.post("/v1/jobs", json=JOB | {"strategy": strategy}).json()
    assert made["spec"]["strategy"]["select"] == {"label": "3"}
    strategy["select"]["label"] = 5
    unknown = client.post("/v1/jobs", json=JOB | {"strategy": strategy}).json()
    assert unknown["code"] == "invalid_labels"
    assert "it has 3, 4" in unknown["detail"]


def test_the_spec_says_which_labels_were_chosen_by_default(client, upload, worker):
    upload("models", b"a bundle", name="digits")
    waiting = created(client)
    worker.inspect(vae(labels=Labels(classes=("a/b", "c"))))
    for shown in (client.get(waiting).json(), client.get(created(client)).json()):
        assert shown["spec"]["strategy"]["labels"] == "balanced"
    strategy = {"kind": "prior", "labels": {"counts": {"x/y": 100}}}
    (error,) = client.post("/v1/jobs", json=JOB | {"strategy": strategy}).json()["errors"]
    assert error["pointer"] == "/strategy/labels/counts/x~1y"


def test_a_wait_ends_when_its_client_has_gone(server, client, upload, api_key):
    model = upload("models").json()["id"]
    before = len(server.reads)
    with socket.create_connection(("127.0.0.1", server.port), 5) as line:
        request = f"GET /v1/models/{model}?wait=30 HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {api_key}\r\n\r\n"
        line.sendall(request.encode())
        deadline = time.monotonic() + 15
        while len(server.reads) < before + 3:  # the key, and two looks at the model
            assert time.monotonic() < deadline
            time.sleep(0.02)
    seen = -1
    while len(server.reads) > seen:  # a wait that goes on looks every half second, for 30 seconds
        assert time.monotonic() < deadline
        seen = len(server.reads)
        time.sleep(1)
