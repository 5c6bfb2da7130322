"""What a full disk means to callers: refused at the door, said in words, and over as soon as there is room."""

import shutil
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import delete

from latentmill.errors import StorageFull
from service.settings import MIB, Settings
from service.tables import WorkerRow
from service.work import hand_back
from tests.service.conftest import serving
from tests.service.steps import Server
from tests.service.test_admission import spoken
from tests.small_disk import FILLER, fill, free, is_full, small_disk

CAPACITY = 8 * MIB
PART = '--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Where the data directory lies; a folder with a capacity unless a test wants a real disk."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def server(disk: Path, sqlite_template: Path, broker: str) -> Iterator[Server]:
    """A server with its database and its files on the small disk."""
    shutil.copyfile(sqlite_template, disk / "latentmill.db")
    real = disk.is_mount()
    storage = {"reserve_bytes": 0} if real else {"reserve_bytes": 0, "capacity_bytes": CAPACITY}
    given = {"broker": {"url": broker, "key_prefix": f"{disk}:"}, "keys": {"pepper": "a pepper for tests"}}
    with serving(Settings.model_validate({"data_dir": disk, "storage": storage, **given})) as running:
        yield running


@pytest.fixture
def take(disk: Path) -> Callable[[int], None]:
    """Lets somebody else have so many bytes of the disk."""

    def take_bytes(size: int) -> None:
        with (disk / FILLER).open("wb") as file:
            file.truncate(size)

    return take_bytes


def readiness(server: Server) -> httpx.Response:
    return httpx.get(f"{server.url}/readyz", trust_env=False)


def until(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_upload_that_does_not_fit_is_refused_before_it_is_read(server, client, api_key, worker, take):
    head = f"POST /v1/models HTTP/1.1\nHost: x\nAuthorization: Bearer {api_key}\nContent-Length: {4 * MIB}"
    take(CAPACITY - 3 * MIB)
    until(lambda: b" 507 " in spoken(server, head, wait_seconds=0.5))
    answer = spoken(server, f"{head}\nExpect: 100-continue")
    assert answer.startswith(b"HTTP/1.1 507 ")
    assert b'"code":"storage_full"' in answer
    assert b"storage.capacity_bytes" in answer
    assert b"connection: close" in answer.lower()
    assert b"retry-after" in answer.lower()
    assert worker.stored_keys() == []
    assert client.post("/v1/models", files={"file": b"small"}).status_code == 202


def test_a_disk_that_fills_up_during_an_upload_leaves_nothing_of_it(server, client, api_key, worker, take, disk):
    body = PART.encode() + b"x" * (3 * MIB) + b"\r\n--b--\r\n"
    head = (
        f"POST /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api_key}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as line:
        line.sendall(head.encode() + body[: 2 * MIB])
        until(lambda: any((disk / "files" / ".incoming").glob("*")))
        take(CAPACITY)
        time.sleep(0.5)  # the count of the files is believed for a moment
        line.sendall(body[2 * MIB :])
        assert line.recv(4096).startswith(b"HTTP/1.1 507 ")
    until(lambda: list((disk / "files" / ".incoming").iterdir()) == [])
    assert worker.stored_keys() == []
    assert client.get("/v1/models").json()["data"] == []


def test_a_full_disk_is_told_but_what_is_there_stays_within_reach(server, client, model, worker, take):
    worker.announce("prompt", "compute")
    assert readiness(server).json()["ready"]
    take(CAPACITY)
    until(lambda: "storage" in readiness(server).json()["degraded"])
    told = readiness(server)
    assert told.status_code == 200
    assert "storage.capacity_bytes" in told.json()["failing"]["storage"]
    assert client.get(f"/v1/models/{model}").json()["state"] == "ready"
    assert client.delete(f"/v1/models/{model}").status_code == 200
    with server.database.writing() as session:
        session.execute(delete(WorkerRow))
    assert readiness(server).status_code == 503, "a full disk hides nothing else"


def test_a_dataset_that_has_no_room_to_be_read_says_so(client, upload, worker):
    reading = upload("datasets", b"rows", "train.npz").json()
    assert reading["state_reason"] is None
    taken = worker.take("read")
    with worker.server.database.writing() as session:
        hand_back(session, taken, waiting=StorageFull("No more fits").problem())
    assert client.get(f"/v1/datasets/{reading['id']}").json()["state_reason"] == "storage_full: No more fits"


def test_whoever_waits_for_one_that_has_no_room_says_so(client, model, dataset, worker):
    fit = client.post("/v1/fits", json={"model": model, "dataset": dataset, "family": {"kind": "gaussian"}}).json()
    strategy = {"kind": "aggregate", "fit": fit["id"]}
    job = client.post("/v1/jobs", json={"model": model, "strategy": strategy, "rows": 100}).json()
    assert "storage_full" not in job["state_reason"]
    taken = worker.take("encode")
    with worker.server.database.writing() as session:
        hand_back(session, taken, waiting=StorageFull("No more fits").problem())
    for path in (f"/v1/fits/{fit['id']}", f"/v1/jobs/{job['id']}"):
        assert client.get(path).json()["state_reason"].endswith("; storage_full: No more fits")


class TestARealDisk:
    """SQLite itself meets ENOSPC."""

    @pytest.fixture
    def disk(self, tmp_path: Path) -> Iterator[Path]:
        with small_disk(tmp_path / "small", "24m") as folder:
            yield folder

    def test_a_full_database_refuses_changes_in_words_and_goes_on_when_there_is_room(
        self, server, client, model, worker, disk
    ):
        body = {"model": model, "strategy": {"kind": "prior"}, "rows": 100_000, "shard_rows": 100}
        before = client.post("/v1/jobs", json=body).json()["id"]
        fill(disk)
        assert is_full(disk)
        answers = [client.post("/v1/jobs", json=body | {"name": f"job-{number}"}) for number in range(3)]
        assert {(each.status_code, each.json()["code"]) for each in answers} == {(507, "database_full")}
        assert all(each.json()["retryable"] and each.headers["retry-after"] for each in answers)
        assert [job["id"] for job in client.get("/v1/jobs").json()["data"]] == [before], "what is there can be read"
        assert client.post("/v1/models", files={"file": b"x" * 100_000}).status_code == 507
        free(disk)
        after = client.post("/v1/jobs", json=body | {"name": "job-0"})
        assert after.status_code == 202
        assert client.get(f"/v1/jobs/{after.json()['id']}").json()["progress"]["shards_total"] == 1000
        assert len(worker.stored_keys()) == 1, "the model's bundle and nothing else"
        with sqlite3.connect(disk / "latentmill.db") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
