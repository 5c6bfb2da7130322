"""Clients that wait share one look at the database, are woken together, and outlast a database that goes away."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import text

from service.database import open_database
from service.jobs.events import newest_events
from service.watching import FIRST_LOOK_SECONDS, Watcher
from tests.conftest import settings_for

CLIENTS = 60


@pytest.fixture
def job(client, model):
    body = {"model": "digits", "strategy": {"kind": "prior"}, "rows": 1000, "shard_rows": 500}
    return client.post("/v1/jobs", json=body).json()["id"]


@pytest.fixture
def crowd(server, api_key):
    """Sends the same request from many clients at once, on a thread; what each of them got."""

    async def everyone(path: str) -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=CLIENTS)
        headers = {"Authorization": f"Bearer {api_key}"}
        async with httpx.AsyncClient(
            base_url=server.url, headers=headers, limits=limits, timeout=20, trust_env=False
        ) as line:
            return await asyncio.gather(*(line.get(path) for _ in range(CLIENTS)))

    with ThreadPoolExecutor(1) as pool:
        yield lambda path: pool.submit(lambda: asyncio.run(everyone(path)))


def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def watched(server) -> int:
    return len(server.services.watcher._watches)


def test_many_who_wait_look_as_often_as_one_and_are_woken_together(server, worker, crowd, job):
    threads = threading.active_count()
    answers = crowd(f"/v1/jobs/{job}?wait=20")
    until(lambda: watched(server) == CLIENTS)
    settled = time.monotonic() + 1.0  # everyone has come, and the pauses between two looks have grown
    while time.monotonic() < settled:
        time.sleep(0.05)
    before, began = len(server.reads), time.monotonic()
    while time.monotonic() < began + 1:
        time.sleep(0.05)
    # Alone each would look more than three times in this second.
    assert len(server.reads) - before <= (time.monotonic() - began) / FIRST_LOOK_SECONDS + 2 < CLIENTS
    # The pool has as many threads as were busy at once when all came; none of them belongs to someone who waits.
    assert threading.active_count() - threads < CLIENTS
    worker.shard()
    worker.shard()
    before = len(server.reads)
    worker.finalize()
    found = answers.result(15)
    assert {(answer.status_code, answer.json()["state"]) for answer in found} == {(200, "succeeded")}
    assert len(server.reads) - before < CLIENTS
    until(lambda: watched(server) == 0)


def test_many_who_listen_are_all_told_the_whole_story_by_few_reads(server, worker, crowd, job):
    stories = crowd(f"/v1/jobs/{job}/events")
    until(lambda: watched(server) == CLIENTS)
    before = len(server.reads)
    worker.shard()
    until(lambda: watched(server) == CLIENTS)
    worker.shard()
    worker.finalize()
    found = [answer.text for answer in stories.result(15)]
    numbers = [[line for line in story.splitlines() if line.startswith("id: ")] for story in found]
    assert numbers[0] == [f"id: {number}" for number in range(1, len(numbers[0]) + 1)]
    assert all(others == numbers[0] for others in numbers)
    assert all('"state": "succeeded"' in story for story in found)
    assert len(server.reads) - before < CLIENTS


def test_a_change_between_the_read_and_the_watch_is_seen(server, worker, job):
    """A mark that is old already wakes at the first look."""

    async def outdated() -> bool:
        with server.services.watcher.watching(newest_events, job, 0) as changed:
            await asyncio.wait({changed}, timeout=5)
            return changed.done()

    assert asyncio.run(outdated())


def defect(session):
    raise RuntimeError("a defect")


def lost_connection(session):
    session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


@pytest.mark.parametrize(("fault", "said"), [(defect, "a defect"), (lost_connection, "terminating connection")])
def test_a_look_that_fails_is_followed_by_others(postgres_url, tmp_path, caplog, fault, said):
    broken = threading.Event()

    def look(session, ids):
        if not broken.is_set():
            broken.set()
            fault(session)
        return dict.fromkeys(ids, "new")

    async def watch(watcher) -> bool:
        with watcher.watching(look, "an id", "old") as changed:
            await asyncio.wait({changed}, timeout=10)
            return changed.done()

    with open_database(settings_for(tmp_path, postgres_url)) as database:
        watcher = Watcher(database)
        try:
            assert asyncio.run(watch(watcher))
        finally:
            watcher.close()
    assert said in caplog.text
