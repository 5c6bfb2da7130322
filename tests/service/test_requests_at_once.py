"""Requests at the same moment, over HTTP and on both databases: one thing is made, and no event is missed."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from service.keys import operations as keys
from service.settings import Settings
from service.tables import JobRow, TenantRow
from tests.service.conftest import NO_TLS, serving
from tests.service.steps import Server, Worker

TWINS = 20
JOB: dict[str, Any] = {"model": "digits", "strategy": {"kind": "prior"}, "rows": 10}


@pytest.fixture
def server(any_settings: Settings, broker: str, tmp_path: Path) -> Iterator[Server]:
    with serving(any_settings) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.database.writing() as session:
        key = keys.create(session, pepper=server.services.pepper, tenant="mine").text
    limits = httpx.Limits(max_connections=2 * TWINS)
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(
        base_url=server.url, headers=headers, timeout=30, trust_env=False, verify=NO_TLS, limits=limits
    ) as made:
        yield made


@pytest.fixture
def worker(server: Server, client: httpx.Client) -> Worker:
    with server.database.reading() as session:
        return Worker(server, session.execute(select(TenantRow.id)).scalar_one())


@pytest.fixture
def model(client: httpx.Client, worker: Worker) -> str:
    made = client.post("/v1/models", files={"file": ("a", b"a bundle")}, data={"name": "digits"}).json()["id"]
    worker.inspect()
    return str(made)


def at_once(send: Callable[[int], httpx.Response]) -> list[httpx.Response]:
    """The answers to requests that begin at the same moment."""
    together = Barrier(TWINS)

    def one(number: int) -> httpx.Response:
        together.wait(10)
        return send(number)

    with ThreadPoolExecutor(TWINS) as threads:
        return list(threads.map(one, range(TWINS)))


def test_twenty_twins_make_one_job(client: httpx.Client, server: Server, model: str) -> None:
    headers = {"Idempotency-Key": "twin"}
    answers = at_once(lambda _: client.post("/v1/jobs", json=JOB, headers=headers))
    assert Counter(answer.status_code for answer in answers) == {202: TWINS}
    assert Counter(answer.headers.get("Idempotent-Replayed") for answer in answers) == {None: 1, "true": TWINS - 1}
    assert len({answer.text for answer in answers}) == len({answer.headers["Location"] for answer in answers}) == 1
    with server.database.reading() as session:
        assert len(session.execute(select(JobRow.id)).all()) == 1
    again = client.post("/v1/jobs", json=JOB, headers=headers)
    assert (again.text, again.headers["Idempotent-Replayed"]) == (answers[0].text, "true")


def test_of_two_bodies_under_one_key_one_is_made(client: httpx.Client, server: Server, model: str) -> None:
    headers = {"Idempotency-Key": "two bodies"}
    answers = at_once(lambda number: client.post("/v1/jobs", json=JOB | {"rows": 10 + number % 2}, headers=headers))
    made = [answer.json() for answer in answers if answer.status_code == 202]
    refused = [answer.json()["code"] for answer in answers if answer.status_code == 422]
    assert (len(made), refused) == (TWINS // 2, ["idempotency_key_reused"] * (TWINS // 2))
    assert len({job["id"] for job in made}) == 1
    with server.database.reading() as session:
        assert len(session.execute(select(JobRow.id)).all()) == 1


def test_twenty_uploads_under_one_key_keep_one_file(client: httpx.Client, worker: Worker) -> None:
    headers = {"Idempotency-Key": "up"}
    answers = at_once(lambda _: client.post("/v1/datasets", files={"file": ("a.npy", b"rows")}, headers=headers))
    assert Counter(answer.status_code for answer in answers) == {202: TWINS}
    assert len({answer.text for answer in answers}) == 1
    assert len(worker.items("read")) == len(worker.stored_keys()) == 1


def test_keys_that_are_refused_at_once_stay_free(client: httpx.Client, worker: Worker) -> None:
    headers = {"Idempotency-Key": "early"}
    early = at_once(lambda _: client.post("/v1/jobs", json=JOB, headers=headers))
    assert Counter(answer.status_code for answer in early) == {404: TWINS}, "there is no model yet"
    client.post("/v1/models", files={"file": ("a", b"a bundle")}, data={"name": "digits"})
    made = client.post("/v1/jobs", json=JOB, headers=headers)
    assert (made.status_code, "Idempotent-Replayed" in made.headers) == (202, False)


def test_one_name_is_given_once(client: httpx.Client, server: Server, model: str) -> None:
    answers = at_once(lambda number: client.post("/v1/jobs", json=JOB | {"name": "one", "rows": 1 + number}))
    assert Counter(answer.status_code for answer in answers) == {202: 1, 409: TWINS - 1}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"name_taken"}


def test_streams_that_break_and_go_on_miss_nothing(client: httpx.Client, worker: Worker, model: str) -> None:
    """Four workers commit 40 shards side by side while five clients lose their connection again and again."""
    job = client.post("/v1/jobs", json=JOB | {"rows": 4000, "shard_rows": 100}).json()["id"]
    with ThreadPoolExecutor(9) as threads:
        readers = [threads.submit(read_with_breaks, client, job, random.Random(seed)) for seed in range(5)]
        while items := worker.items("shard"):
            held = [worker.take("shard") for _ in items[:4]]
            list(threads.map(worker.shard, held))
        worker.finalize()
        told = [reader.result(30) for reader in readers]
    assert told[0][-1][1] == "state"
    assert [number for number, _ in told[0]] == list(range(1, len(told[0]) + 1))
    assert sum(kind == "shard" for _, kind in told[0]) == 40
    assert all(one == told[0] for one in told)


def read_with_breaks(client: httpx.Client, job: str, chance: random.Random) -> list[tuple[int, str]]:
    """The events, (number, kind), over connections that end after a few of them."""
    told: list[tuple[int, str]] = []
    while True:
        headers = {"Last-Event-ID": str(told[-1][0])} if told else {}
        with client.stream("GET", f"/v1/jobs/{job}/events", headers=headers) as answer:
            if answer.status_code == 204:
                return told
            left, number = chance.randint(1, 15), 0
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    number = int(value)
                elif name == "event":
                    told.append((number, value))
                    left -= 1
                if left == 0:
                    break
