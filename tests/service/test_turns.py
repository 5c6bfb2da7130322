"""Requests that write take turns: whoever only reads does not wait for them, and a key is not looked up every time."""

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import update

from service.database import database_time
from service.keys import operations as keys
from service.tables import KeyRow
from tests.conftest import settings_for
from tests.service.conftest import serving

JOB = {"model": "digits", "strategy": {"kind": "prior"}, "rows": 10}
WRITERS = 50  # more than the pool has threads or the database connections


@pytest.fixture
def held(server):
    """The database's write lock in the hands of another process, as it were."""
    other = sqlite3.connect(server.database.engine.url.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield other
    other.close()


def test_who_reads_does_not_wait_for_those_who_wait_to_write(server, client, model, api_key, held):
    headers = {"Authorization": f"Bearer {api_key}"}
    limits = httpx.Limits(max_connections=WRITERS)
    with (
        httpx.Client(base_url=server.url, headers=headers, limits=limits, timeout=30, trust_env=False) as writers,
        ThreadPoolExecutor(WRITERS) as pool,
    ):
        posted = [pool.submit(writers.post, "/v1/jobs", json=JOB) for _ in range(WRITERS)]
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:  # all have come by now, and more of them come while this one reads
            began = time.monotonic()
            assert client.get(f"/v1/models/{model}").status_code == 200
            assert time.monotonic() - began < 5, "reading waited for the writers"
        assert not any(answer.done() for answer in posted)
        held.execute("ROLLBACK")
        assert [answer.result(30).status_code for answer in posted] == [202] * WRITERS


def test_a_turn_that_does_not_come_in_time_is_a_503(tmp_path, sqlite_url):
    settings = settings_for(tmp_path, sqlite_url)
    settings = settings.model_copy(update={"database": settings.database.model_copy(update={"busy_seconds": 0.3})})
    with serving(settings) as server, httpx.Client(base_url=server.url, trust_env=False, timeout=10) as client:
        with server.database.writing() as session:
            key = keys.create(session, pepper=server.services.pepper, tenant="one").text
        client.headers["Authorization"] = f"Bearer {key}"
        assert client.get("/v1/jobs").status_code == 200
        other = sqlite3.connect(server.database.engine.url.database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda _: client.post("/v1/jobs", json=JOB), range(6)))
        other.execute("ROLLBACK")
        other.close()
        assert {(answer.status_code, answer.json()["code"]) for answer in found} == {(503, "database_fault")}
        assert all(answer.json()["retryable"] and "Retry-After" in answer.headers for answer in found)
        assert client.post("/v1/jobs", json=JOB).status_code == 404, "the model is unknown, and the database back"


def test_a_key_is_looked_up_once_a_second_and_soon_found_to_have_ended(server, client, api_key):
    trusted = server.services.settings.keys.trusted_seconds
    assert client.get("/v1/jobs").status_code == 200
    before, began = len(server.reads), time.monotonic()
    for _ in range(20):
        assert client.get("/v1/limits").status_code == 200
    looked = len(server.reads) - before
    assert looked <= 20 + 1 + (time.monotonic() - began) / trusted, "one for each answer, and one a second for the key"
    with server.database.writing() as session:
        mine = KeyRow.id == f"key_{api_key.split('_')[1]}"
        session.execute(update(KeyRow).where(mine).values(revoked_at=database_time()))
    ended = time.monotonic()
    while client.get("/v1/limits").status_code != 401:
        assert time.monotonic() < ended + trusted + 5
        time.sleep(0.02)
    assert client.get("/v1/limits").status_code == 401, "a refusal is no news"
