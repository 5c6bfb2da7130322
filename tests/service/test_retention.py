"""Expiry: said in a request or by the tenant's limits, shown, swept once nothing needs the thing, and 410 after it."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from service.beat import sweep_until
from service.database import Database, database_now, database_time
from service.jobs import shards
from service.retention import delete_expired
from service.settings import LimitSettings, RetentionSettings
from service.tables import DatasetRow, JobRow, ModelRow
from tests.service.conftest import both

TABLES = {"job": JobRow, "dat": DatasetRow, "mdl": ModelRow}
LIMITS = LimitSettings(tenants={"keeper": {"keep_jobs_seconds": 60, "keep_uploads_seconds": 3600}})


@pytest.fixture
def server(request):
    """One of SQLite for all tests; for those marked `both` one of each kind."""
    return request.getfixturevalue(getattr(request, "param", "sqlite_server"))


@pytest.fixture
def expire(server):
    """Moves the ends of these into the past, and looks once; how many were deleted."""

    delete_expired(server.database, server.services.outcomes, server.services.settings)  # what others left

    def act(*ids: str, ago: float = 0.0) -> int:
        with server.database.writing() as session:
            for each in ids:
                table = TABLES[each[:3]]
                session.execute(update(table).where(table.id == each).values(expires_at=database_time(-ago)))
        return delete_expired(server.database, server.services.outcomes, server.services.settings)

    return act


def ask(client, model, rows=10, **more):
    return client.post("/v1/jobs", json={"model": model, "strategy": {"kind": "prior"}, "rows": rows, **more})


def seconds_left(resource) -> float:
    return (datetime.fromisoformat(resource["expires_at"]) - datetime.now(UTC)).total_seconds()


def test_an_end_is_kept_as_it_was_asked_for(client, model, upload):
    assert client.get(f"/v1/models/{model}").json()["expires_at"] is None, "by default nothing expires"
    job = ask(client, model, expires_in=3600).json()
    assert 3500 < seconds_left(job) <= 3600
    assert "expires_in" not in job["spec"]
    at = ask(client, model, expires_at="2091-05-01T14:00:00+02:00").json()
    assert at["expires_at"] == "2091-05-01T12:00:00Z"
    assert client.get(f"/v1/jobs/{at['id']}").json()["expires_at"] == at["expires_at"]
    for noun in ("models", "datasets"):
        uploaded = upload(noun, b"more bytes", expires_in="900.5").json()
        assert 800 < seconds_left(uploaded) <= 900.5
        uploaded = upload(noun, b"and more", expires_at="2091-05-01T12:00:00Z").json()
        assert uploaded["expires_at"] == "2091-05-01T12:00:00Z"
        assert client.get(f"/v1/{noun}").json()["data"][0]["expires_at"] == "2091-05-01T12:00:00Z"


NO_ENDS = (
    ("expires_at", "2001-01-01T00:00:00Z", "lies in the past"),
    ("expires_at", "2091-05-01T12:00:00", "timezone"),
    ("expires_at", 1_900_000_000, "RFC 3339"),
    ("expires_at", "9999-12-31T23:59:59-14:00", "9990"),
    ("expires_at", "0001-01-01T00:00:00+14:00", "9990"),
    ("expires_at", "soon", "datetime"),
    ("expires_in", 0, "greater than 0"),
    ("expires_in", -5, "greater than 0"),
    ("expires_in", 1e12, "less than or equal"),
    ("expires_in", "7d", "number"),
)


def test_an_end_that_is_none_is_refused_with_its_field(client, model, upload, worker):
    kept = len(worker.stored_keys())
    for field, value, said in NO_ENDS:
        for refused in (ask(client, model, **{field: value}), upload("datasets", **{field: str(value)})):
            assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request"), (field, value)
            assert refused.json()["errors"][0]["pointer"] == f"/{field}"
            assert said in refused.json()["detail"]
    both = ask(client, model, expires_in=5, expires_at="2091-05-01T12:00:00Z")
    assert both.status_code == 422
    assert "not both" in both.json()["detail"]
    assert len(worker.stored_keys()) == kept


@pytest.mark.parametrize("tenant", ["keeper"])
def test_the_tenants_default_holds_where_a_request_says_nothing(client, model, tenant):
    assert 3500 < seconds_left(client.get(f"/v1/models/{model}").json()) <= 3600
    assert 50 < seconds_left(ask(client, model).json()) <= 60
    assert 900 < seconds_left(ask(client, model, expires_in=1000).json()) <= 1000


@both
def test_what_has_expired_goes_with_its_files_and_says_so(client, model, dataset, fit, worker, expire, upload):
    job = ask(client, model, name="soon").json()["id"]
    worker.shard()
    worker.finalize()
    kept = upload("models", b"kept").json()["id"]
    assert expire(job, dataset, model) == 3
    for noun, each in (("job", job), ("dataset", dataset), ("model", model)):
        gone = client.get(f"/v1/{noun}s/{each}")
        assert (gone.status_code, gone.json()["code"]) == (410, "gone")
        assert f"{each} was deleted: it expired at 20" in gone.json()["detail"]
    assert client.get(f"/v1/jobs/{job}/manifest").status_code == 410
    refused = ask(client, model)
    assert (refused.status_code, refused.json()["code"]) == (409, "not_ready")
    assert "expired" in refused.json()["detail"]
    assert len(worker.stored_keys()) == 1, "the file of the model that does not expire"
    assert client.get(f"/v1/models/{kept}").json()["state"] == "inspecting"
    assert client.get(f"/v1/fits/{fit}").json()["state"] == "ready", "a gaussian fit holds no rows"
    assert expire() == 0
    assert ask(client, kept, name="soon").status_code == 202, "its name is free"


@both
def test_what_is_in_use_is_left_until_it_is_free(client, model, dataset, worker, expire):
    job = ask(client, model).json()["id"]
    body = {"model": model, "dataset": dataset, "family": {"kind": "gaussian"}}
    fit = client.post("/v1/fits", json=body).json()["id"]
    assert expire(model, dataset) == 0
    worker.shard()
    worker.finalize()
    assert expire() == 0, "the fit still needs both"
    worker.encode()
    worker.fit()
    assert client.get(f"/v1/fits/{fit}").json()["state"] == "ready"
    assert expire() == 2
    assert client.get(f"/v1/jobs/{job}").json()["state"] == "succeeded", "it does not expire"
    assert client.get(f"/v1/models/{model}").status_code == 410


def test_those_in_use_do_not_stop_the_others(server, client, model, upload, expire, worker):
    settings = server.services.settings.model_copy(update={"retention": RetentionSettings(at_a_time=1)})
    ask(client, model)
    free = [upload("models", bytes([n])).json()["id"] for n in range(2)]
    assert expire(model, ago=9) == 0
    with server.database.writing() as session:
        session.execute(update(ModelRow).where(ModelRow.id.in_(free)).values(expires_at=database_time(-1)))
    deleted = [delete_expired(server.database, server.services.outcomes, settings) for _ in range(3)]
    assert deleted == [1, 1, 0]


def test_a_job_at_work_is_left_and_its_late_result_is_not_lost_at_once(server, client, model, worker, expire):
    job = ask(client, model).json()["id"]
    assert expire(job, ago=0.01) == 0, "it waits"
    taken = worker.take("shard")
    with server.database.writing() as session:
        asked = shards.shard_work_of(session, taken)
    assert expire() == 0, "it runs"
    worker.commit(taken, asked)
    worker.finalize()
    before = client.get(f"/v1/jobs/{job}").json()
    assert expire() == 0
    after = client.get(f"/v1/jobs/{job}").json()
    late = datetime.fromisoformat(after["expires_at"]) - datetime.fromisoformat(before["finished_at"])
    assert late == timedelta(hours=1)
    assert expire() == 0
    assert expire(job) == 1


def test_a_job_that_ended_in_time_goes_when_it_should(server, client, model, worker, expire):
    job = ask(client, model).json()["id"]
    worker.shard()
    worker.finalize()
    with server.database.writing() as session:
        row = session.get_one(JobRow, job)
        row.finished_at = row.created_at = database_now(session) - timedelta(hours=2)
    assert expire(job, ago=3600) == 1


def test_the_same_upload_again_is_kept_as_long_as_the_longest_asked_for(client, upload):
    def end(**fields):
        return upload("models", b"same", **fields).json()["expires_at"]

    first = end(expires_in="100")
    assert end(expires_in="50") == first
    later = end(expires_in="1000")
    assert later > first
    assert end() is None, "for ever"
    assert end(expires_in="50") is None


def test_what_is_asked_for_again_in_the_last_moment_is_kept(server, client, upload, worker):
    upload("models", b"same", expires_in="3600")
    worker.inspect()
    found = client.get("/v1/models").json()["data"][0]["id"]
    with server.database.writing() as session:
        session.execute(
            update(ModelRow).where(ModelRow.tenant_id == worker.tenant_id).values(expires_at=database_time(-1))
        )
    looked = threading.Event()

    class Slow(Database):
        """Somebody asks again between the look and the deletion."""

        def on_behalf_of(self, tenant_id, request_id):
            assert upload("models", b"same", expires_in="3600").status_code == 200
            looked.set()
            return super().on_behalf_of(tenant_id, request_id)

    slow = Slow(server.services.settings)
    assert delete_expired(slow, server.services.outcomes, server.services.settings) == 0
    slow.dispose()
    assert looked.is_set()
    assert client.get(f"/v1/models/{found}").json()["state"] == "ready"


@both
def test_several_beats_delete_each_thing_once(server, client, upload, expire, worker):
    ids = [upload("models", bytes([n]) * 9).json()["id"] for n in range(12)]
    with server.database.writing() as session:
        session.execute(
            update(ModelRow).where(ModelRow.tenant_id == worker.tenant_id).values(expires_at=database_time(-1))
        )
    with ThreadPoolExecutor(4) as threads:
        deleted = sum(threads.map(lambda _: expire(), range(4)))
    assert deleted == len(ids)
    assert worker.stored_keys() == []
    assert {client.get(f"/v1/models/{each}").status_code for each in ids} == {410}


def test_beat_looks_by_itself(server, client, upload):
    made = upload("datasets", expires_in="0.2").json()["id"]
    ending = threading.Event()
    hasty = server.services.settings.model_copy(update={"retention": RetentionSettings(look_seconds=0.1)})
    beat = threading.Thread(target=sweep_until, args=(ending, hasty))
    beat.start()
    try:
        deadline = time.monotonic() + 20
        while client.get(f"/v1/datasets/{made}").status_code != 410:
            assert time.monotonic() < deadline, "beat did not delete it"
            time.sleep(0.05)
    finally:
        ending.set()
        beat.join()


@both
def test_two_deletes_at_once_are_one_delete_and_a_gone(server, client, model, upload, worker):
    job = ask(client, model).json()["id"]
    worker.shard()
    worker.finalize()
    dataset = upload("datasets").json()["id"]
    for path in (f"/v1/jobs/{job}", f"/v1/datasets/{dataset}", f"/v1/models/{model}"):
        with ThreadPoolExecutor(4) as threads:
            answers = sorted(threads.map(lambda _, path=path: client.delete(path).status_code, range(4)))
        assert answers[0] in {200, 202}
        assert answers[1:] == [410] * 3
