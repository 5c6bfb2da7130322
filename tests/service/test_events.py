"""The events of a job: numbered without gaps, resumable, ended by the terminal one."""

import json
import threading

import pytest

from latentmill.errors import DataError
from service.jobs import events as job_events


def read_events(client, job, last=None):
    """All events that the stream gives until it ends: (number, kind, data)."""
    headers = {"Last-Event-ID": str(last)} if last is not None else {}
    found, block = [], {}
    with client.stream("GET", f"/v1/jobs/{job}/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                block[name] = value
            else:
                if "event" in block:
                    found.append((int(block["id"]), block["event"], json.loads(block["data"])))
                block = {}
    return found


@pytest.fixture
def job(client, model):
    body = {"model": "digits", "strategy": {"kind": "prior"}, "rows": 1000, "shard_rows": 500}
    return client.post("/v1/jobs", json=body).json()["id"]


def test_a_job_tells_its_story_from_the_first_event(client, job, worker):
    worker.shard()
    worker.shard()
    worker.finalize()
    told = read_events(client, job)
    assert [number for number, _, _ in told] == list(range(1, len(told) + 1))
    assert [data["state"] for _, kind, data in told if kind == "state"] == [
        "queued", "running", "finalizing", "succeeded",
    ]  # fmt: skip
    assert [data["index"] for _, kind, data in told if kind == "shard"] == [0, 1]
    assert [data["rows_done"] for _, kind, data in told if kind == "progress"] == [500, 1000]


def test_a_stream_goes_on_after_the_last_event_that_was_seen(client, job, worker):
    worker.shard()
    worker.shard()
    worker.finalize()
    told = read_events(client, job)
    assert read_events(client, job, last=3) == told[3:]
    done = client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": str(len(told))})
    assert done.status_code == 204
    for wrong in ("x", str(len(told) + 1), "-1"):
        refused = client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": wrong})
        assert refused.status_code == 422


def test_events_arrive_while_they_happen(client, job, worker):
    told = []
    listener = threading.Thread(target=lambda: told.extend(read_events(client, job)))
    listener.start()
    worker.shard()
    worker.shard()
    worker.finalize()
    listener.join(10)
    assert not listener.is_alive()
    assert [number for number, _, _ in told] == list(range(1, len(told) + 1))
    assert told[-1][2]["state"] == "succeeded"


def test_the_story_of_a_retried_job_goes_on(client, job, worker):
    worker.shard()
    worker.fail("shard", DataError("no"))
    failed = read_events(client, job)
    assert failed[-1][2]["error"]["detail"] == "no"
    client.post(f"/v1/jobs/{job}/retry")
    worker.shard()
    worker.finalize()
    told = read_events(client, job, last=failed[-1][0])
    assert [number for number, _, _ in told] == list(range(len(failed) + 1, len(failed) + len(told) + 1))
    assert [data["state"] for _, kind, data in told if kind == "state"] == [
        "queued", "running", "finalizing", "succeeded",
    ]  # fmt: skip


def test_a_silent_stream_is_kept_open_by_comments(client, job, monkeypatch):
    monkeypatch.setattr(job_events, "HEARTBEAT_SECONDS", 0.05)
    with client.stream("GET", f"/v1/jobs/{job}/events", headers={"Last-Event-ID": "1"}) as answer:
        for line in answer.iter_lines():
            if line.startswith(":"):
                break
        else:
            pytest.fail("no heartbeat")


def test_the_stream_of_a_deleted_job_ends(client, job):
    with client.stream("GET", f"/v1/jobs/{job}/events") as answer:
        lines = answer.iter_lines()
        assert "id: 1" in next(line for line in lines if line.startswith("id"))
        assert client.delete(f"/v1/jobs/{job}").status_code == 202
        list(lines)
