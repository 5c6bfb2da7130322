"""The same service on Postgres, where transactions really run side by side."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from pydantic import SecretStr

from service.jobs import shards
from service.settings import BrokerSettings, DatabaseSettings, KeySettings, Settings
from tests.service.conftest import serving
from tests.service.steps import Server


@pytest.fixture
def server(tmp_path: Path, postgres_url: str) -> Iterator[Server]:
    settings = Settings(
        data_dir=tmp_path,
        database=DatabaseSettings(url=postgres_url),
        broker=BrokerSettings(url=f"redis+socket://{tmp_path}/no-broker"),
        keys=KeySettings(pepper=SecretStr("a pepper for tests")),
    )
    with serving(settings) as running:
        yield running


def test_two_last_shards_that_are_committed_together_end_the_job(client, model, worker):
    body = {"model": "digits", "strategy": {"kind": "prior"}, "rows": 1000, "shard_rows": 250}
    job = client.post("/v1/jobs", json=body).json()["id"]
    held = [worker.take("shard") for _ in range(4)]
    asked = []
    for taken in held:
        with worker.server.database.writing() as session:
            asked.append(shards.shard_work_of(session, taken))
    together = Barrier(4)

    def commit(number: int) -> None:
        together.wait(10)
        worker.commit(held[number], asked[number])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(commit, range(4)))
    seen = client.get(f"/v1/jobs/{job}").json()
    assert (seen["state"], seen["progress"]["rows_done"], seen["progress"]["shards_done"]) == ("finalizing", 1000, 4)
    assert len(worker.items("finalize")) == 1
    worker.finalize()
    events = client.get(f"/v1/jobs/{job}/events").text
    numbers = [int(line.removeprefix("id: ")) for line in events.splitlines() if line.startswith("id: ")]
    assert numbers == list(range(1, len(numbers) + 1))


def test_twins_at_the_same_moment_make_one_thing(client, upload, model, dataset, worker):
    job = {"model": "digits", "strategy": {"kind": "prior"}, "rows": 10}
    fit = {"model": "digits", "dataset": "train", "family": {"kind": "gaussian"}}

    def post(path, body, headers=None):
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda _: client.post(path, json=body, headers=headers), range(8)))

    jobs = post("/v1/jobs", job, {"Idempotency-Key": "twin"})
    assert [answer.status_code for answer in jobs] == [202] * 8
    assert len({answer.json()["id"] for answer in jobs}) == 1
    fits = post("/v1/fits", fit)
    assert sorted(answer.status_code for answer in fits) == [200] * 7 + [202]
    assert len({answer.json()["id"] for answer in fits}) == 1
    assert len(worker.items("encode")) == 1
    with ThreadPoolExecutor(8) as pool:
        uploads = list(pool.map(lambda _: upload("models", b"twin"), range(8)))
    assert sorted(answer.status_code for answer in uploads) == [200] * 7 + [202]
    with ThreadPoolExecutor(8) as pool:
        named = list(pool.map(lambda number: upload("models", str(number).encode(), name="one"), range(8)))
    assert sorted(answer.status_code for answer in named) == [202] + [409] * 7


def test_a_fit_whose_model_and_dataset_get_ready_together_starts_once(client, upload, worker):
    upload("models", b"a bundle", name="digits")
    upload("datasets", b"rows", name="train")
    body = {"model": "digits", "dataset": "train", "family": {"kind": "gaussian"}}
    made = client.post("/v1/fits", json=body).json()["id"]
    with ThreadPoolExecutor(2) as pool:
        for step in [pool.submit(worker.inspect), pool.submit(worker.read)]:
            step.result(10)
    worker.encode()
    worker.fit()
    assert client.get(f"/v1/fits/{made}").json()["state"] == "ready"
    assert client.delete("/v1/datasets/train").status_code == 200
    assert client.delete(f"/v1/fits/{made}").status_code == 200
