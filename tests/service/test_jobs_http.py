"""The life of a job over HTTP: submit, run, finalize; cancel, retry, delete; wait, cache."""

import time

import pytest

from latentmill.errors import Abandoned, DataError, InvalidBundle, StorageFull
from service.jobs import shards
from service.jobs.states import lock
from service.work import FenceLost, Stopped, cancel_subject, hand_back


def prior_job(model="digits", rows=1000, **changes):
    return {"model": model, "strategy": {"kind": "prior"}, "rows": rows} | changes


def submit(client, **changes):
    answer = client.post("/v1/jobs", json=prior_job(**changes))
    assert answer.status_code == 202, answer.text
    return answer.json()


def state(client, job):
    return client.get(f"/v1/jobs/{job['id']}").json()["state"]


def test_a_job_runs_to_its_end(client, model, worker):
    worker.announce("compute.cpu")
    answer = client.post("/v1/jobs", json=prior_job(rows=1000, shard_rows=400, name="first", metadata={"a": "b"}))
    assert answer.status_code == 202
    assert answer.headers["retry-after"]
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}" == job["urls"]["self"]
    assert job["object"] == "job"
    assert job["state"] == "queued"
    assert job["state_reason"] is None
    assert job["spec"]["model"] == model
    assert job["spec"]["format"] == "npz"
    assert job["spec"]["seed"] == job["seed"]
    assert job["metadata"] == {"a": "b"}
    assert job["execution"]["batch_rows"] == 256
    assert job["progress"]["shards_total"] == 3
    first = worker.shard()
    assert (first.index, first.first_row, first.rows, first.name) == (0, 0, 400, "data-00000-of-00003.npz")
    running = client.get("/v1/jobs/first").json()
    assert running["state"] == "running"
    assert running["started_at"] is not None
    assert running["progress"]["rows_done"] == 400
    assert running["progress"]["rows_per_s"] > 0
    assert running["progress"]["eta_s"] > 0
    worker.shard()
    assert worker.shard().rows == 200
    assert state(client, job) == "finalizing"
    made = worker.finalize()
    done = client.get(f"/v1/jobs/{job['id']}").json()
    assert done["state"] == "succeeded"
    assert done["finished_at"] is not None
    assert done["progress"]["rows_done"] == 1000
    assert made.manifest["rows"] == 1000
    assert made.manifest["model"] == {"id": model, "name": "digits", "digest": made.manifest["model"]["digest"]}
    assert [shard["first_row"] for shard in made.manifest["shards"]] == [0, 400, 800]
    assert made.manifest["shards"][1]["execution"] == 0
    assert made.manifest["executions"][0]["device_name"] == "a cpu"
    assert made.manifest["noise"] == 1


def test_a_job_waits_for_its_model_and_starts_with_it(client, upload, worker):
    waiting_for = upload("models", name="digits").json()["id"]
    job = submit(client)
    assert job["state"] == "queued"
    assert waiting_for in job["state_reason"]
    assert job["progress"]["shards_total"] is None
    worker.inspect()
    begun = client.get(f"/v1/jobs/{job['id']}").json()
    assert begun["progress"]["shards_total"] == 1
    assert begun["spec"]["shard_rows"] == 1000
    worker.shard()
    worker.finalize()
    assert state(client, job) == "succeeded"


def test_a_job_fails_with_the_error_of_what_it_waits_for(client, upload, worker):
    upload("models", name="digits")
    job = submit(client)
    worker.reject_model(InvalidBundle("not a zip"))
    failed = client.get(f"/v1/jobs/{job['id']}").json()
    assert failed["state"] == "failed"
    assert failed["error"]["code"] == "invalid_bundle"
    refused = client.post("/v1/jobs", json=prior_job())
    assert (refused.status_code, refused.json()["code"]) == (409, "not_ready")


def test_a_request_that_turns_out_wrong_when_the_model_is_ready_fails(client, upload, worker):
    upload("models", name="digits")
    job = client.post("/v1/jobs", json=prior_job(strategy={"kind": "prior", "labels": "balanced"})).json()
    worker.inspect()
    failed = client.get(f"/v1/jobs/{job['id']}").json()
    assert failed["state"] == "failed"
    assert failed["error"]["code"] == "invalid_labels"


def test_a_job_on_a_fit_carries_the_parameters(client, model, fit, worker):
    submit(client, strategy={"kind": "aggregate", "fit": fit})
    asked = worker.shard()
    assert asked.fit is not None
    assert (asked.fit.fit_id, asked.fit.parameters) == (fit, b"parameters")
    assert worker.finalize().manifest["fit"]["id"] == fit


def test_a_job_around_a_dataset_makes_the_encoding_first(client, model, dataset, worker):
    job = submit(client, strategy={"kind": "posterior", "dataset": "train", "temperature": 0})
    assert "waiting for enc_" in job["state_reason"]
    assert worker.items("shard") == []
    assert client.delete(f"/v1/datasets/{dataset}").json()["code"] == "in_use"
    worker.encode()
    asked = worker.shard()
    assert asked.encoding is not None
    assert asked.encoding.rows == 100
    assert asked.request.strategy.dataset == dataset


def test_no_worker_for_the_device_is_said_and_not_refused(client, model, worker):
    job = submit(client, execution={"device": "cuda"})
    assert job["state"] == "queued"
    assert job["state_reason"] == "no_worker_for_device"
    assert worker.items("shard")[0].queue == "compute.cuda"
    worker.announce("compute", "compute.cuda")
    assert client.get(f"/v1/jobs/{job['id']}").json()["state_reason"] is None


def test_a_queued_job_is_cancelled_at_once(client, model, worker):
    job = submit(client)
    answer = client.post(f"/v1/jobs/{job['id']}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    assert answer.json()["cancelled_at"] is not None
    assert worker.items("shard") == []
    again = client.post(f"/v1/jobs/{job['id']}/cancel")
    assert (again.status_code, again.json()["state"]) == (200, "cancelled")


def test_a_running_job_is_cancelling_until_its_worker_has_stopped(client, model, worker):
    job = submit(client, rows=2000, shard_rows=500)
    worker.shard()
    held = worker.take("shard")
    with worker.server.database.writing() as session:
        shards.shard_work_of(session, held)
    answer = client.post(f"/v1/jobs/{job['id']}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelling")
    assert worker.items("shard") == []
    assert worker.items("shard", "leased")[0].stop_requested
    with pytest.raises(Stopped), worker.server.database.writing() as session:
        shards.shard_work_of(session, held)
    with worker.server.database.writing() as session:
        shards.commit_stop(session, held)
    assert state(client, job) == "cancelled"
    assert client.get(f"/v1/jobs/{job['id']}/shards/0").status_code == 200, "what is committed stays"
    assert client.get(f"/v1/jobs/{job['id']}/shards/1").status_code == 409


def test_a_shard_that_is_committed_while_cancelling_counts(client, model, worker):
    job = submit(client, rows=1000, shard_rows=500)
    held = worker.take("shard")
    with worker.server.database.writing() as session:
        asked = shards.shard_work_of(session, held)
    client.post(f"/v1/jobs/{job['id']}/cancel")
    worker.commit(held, asked)
    seen = client.get(f"/v1/jobs/{job['id']}").json()
    assert (seen["state"], seen["progress"]["shards_done"]) == ("cancelled", 1)


def test_a_retry_makes_only_what_is_missing(client, model, worker):
    job = submit(client, rows=1500, shard_rows=500)
    worker.shard()
    worker.fail("shard", DataError("row 600: NaN"))
    failed = client.get(f"/v1/jobs/{job['id']}").json()
    assert (failed["state"], failed["error"]["detail"]) == ("failed", "row 600: NaN")
    assert worker.items("shard") == []
    answer = client.post(f"/v1/jobs/{job['id']}/retry")
    assert (answer.status_code, answer.json()["state"], answer.json()["error"]) == (202, "queued", None)
    assert [item.index for item in worker.items("shard")] == [1, 2]
    refused = client.post(f"/v1/jobs/{job['id']}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_retryable")
    worker.shard()
    worker.shard()
    made = worker.finalize()
    assert [shard["index"] for shard in made.manifest["shards"]] == [0, 1, 2]
    assert state(client, job) == "succeeded"
    assert client.post(f"/v1/jobs/{job['id']}/retry").status_code == 409


def test_a_retry_after_a_failed_manifest_goes_straight_to_it(client, model, worker):
    job = submit(client)
    worker.shard()
    worker.fail("finalize", DataError("no"))
    assert state(client, job) == "failed"
    assert client.post(f"/v1/jobs/{job['id']}/retry").json()["state"] == "finalizing"
    worker.finalize()
    assert state(client, job) == "succeeded"


def test_a_worker_that_comes_late_to_a_failed_job_commits_nothing(client, model, worker):
    job = submit(client, rows=1000, shard_rows=500)
    late = worker.take("shard")
    with worker.server.database.writing() as session:
        asked = shards.shard_work_of(session, late)
    worker.fail("shard", DataError("no"))
    client.post(f"/v1/jobs/{job['id']}/retry")
    with pytest.raises(FenceLost):
        worker.commit(late, asked)
    assert client.get(f"/v1/jobs/{job['id']}").json()["progress"]["shards_done"] == 0


def test_a_deleted_job_is_gone_with_everything_under_it(client, model, worker):
    job = submit(client, rows=1000, shard_rows=500, name="first")
    worker.shard()
    held = worker.take("shard")
    with worker.server.database.writing() as session:
        asked = shards.shard_work_of(session, held)
    answer = client.delete("/v1/jobs/first")
    assert (answer.status_code, answer.json()["deleted"]) == (202, True)
    for path in ("", "/shards", "/shards/0", "/events", "/manifest", "/files/README.md"):
        assert client.get(f"/v1/jobs/{job['id']}{path}").status_code == 410, path
    assert client.post(f"/v1/jobs/{job['id']}/cancel").status_code == 410
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 410
    assert [key for key in worker.stored_keys() if "/jobs/" in key] == []
    with pytest.raises(FenceLost):
        worker.commit(held, asked)
    assert submit(client, name="first")["id"] != job["id"]


def test_a_job_that_has_not_changed_is_304(client, model, worker):
    worker.announce("compute.cpu")
    job = submit(client)
    first = client.get(f"/v1/jobs/{job['id']}")
    assert first.headers["retry-after"]
    same = client.get(f"/v1/jobs/{job['id']}", headers={"If-None-Match": first.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    worker.shard()
    changed = client.get(f"/v1/jobs/{job['id']}", headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    worker.finalize()
    assert "retry-after" not in client.get(f"/v1/jobs/{job['id']}").headers


def test_wait_answers_when_the_job_has_ended_or_the_time_is_over(client, model, worker):
    job = submit(client)
    started = time.monotonic()
    assert client.get(f"/v1/jobs/{job['id']}", params={"wait": 0.5}).json()["state"] == "queued"
    assert 0.5 <= time.monotonic() - started < 8  # the client would give up after ten
    client.post(f"/v1/jobs/{job['id']}/cancel")
    started = time.monotonic()
    assert client.get(f"/v1/jobs/{job['id']}", params={"wait": 30}).json()["state"] == "cancelled"
    assert time.monotonic() - started < 8
    refused = client.get(f"/v1/jobs/{job['id']}", params={"wait": 1e6})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/wait")


def test_the_sweep_moves_on_what_a_crash_left(client, model, worker):
    stuck, stopping = submit(client), submit(client)
    for job, left in ((stuck, "running"), (stopping, "cancelling")):
        with worker.server.database.writing() as session:
            cancel_subject(session, subject_id=job["id"])
            lock(session, job["id"]).state = left
    with worker.server.database.writing() as session:
        worker.outcomes.resume(session)
    assert state(client, stopping) == "cancelled"
    assert [item.subject_id for item in worker.items("shard")] == [stuck["id"]]


def test_work_that_is_given_up_fails_its_job(client, model, worker):
    job = submit(client)
    item = worker.items("shard")[0]
    with worker.server.database.writing() as session:
        worker.outcomes.fail(session, item, Abandoned().problem())
    failed = client.get(f"/v1/jobs/{job['id']}").json()
    assert (failed["state"], failed["error"]["code"]) == ("failed", "abandoned")


def test_the_items_of_a_large_job_come_in_pieces(client, model, worker):
    job = submit(client, rows=2500, shard_rows=1)
    assert job["progress"]["shards_total"] == 2500
    assert len(worker.items("shard")) == 1000


def test_a_job_says_what_its_work_waits_out(client, model, worker):
    worker.announce("compute.cpu")
    job = submit(client)
    taken = worker.take("shard")
    with worker.server.database.writing() as session:
        hand_back(session, taken, waiting=StorageFull("no space").problem(), delay_seconds=60)
    seen = client.get(f"/v1/jobs/{job['id']}").json()
    assert (seen["state"], seen["state_reason"]) == ("queued", "storage_full: no space")


def test_a_random_seed_is_shown_and_a_given_one_is_kept(client, model):
    assert submit(client, seed=7)["seed"] == 7
    first, second = submit(client)["seed"], submit(client)["seed"]
    assert first != second
    assert 0 <= first < 2**53
