"""Warm shutdown of a worker: what it holds goes back, counts no attempt, and it ends soon, whatever it does."""

import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress

import psutil
import pytest

from latentmill import Client
from latentmill.stack import Stack

SOON_SECONDS = 20.0  # alone on a machine: about one; one that waits for what it must not takes 30 or more


@pytest.fixture
def worker(stack: Stack) -> Callable[[], psutil.Process]:
    """The compute worker that runs now, once it has its child."""

    def running() -> psutil.Process:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            process_id = stack.pids.get("compute")
            with suppress(psutil.NoSuchProcess):  # the one that just ended
                if process_id is not None and (process := psutil.Process(process_id)).children():
                    return process
            time.sleep(0.01)
        raise AssertionError("no compute worker")

    return running


def seconds_to_end(process: psutil.Process) -> float:
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    while not ended(process):
        assert time.monotonic() - began < 60, "it does not end"
        time.sleep(0.01)
    return time.monotonic() - began


def ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # also when its parent reaps it while we look
        return True


def test_a_worker_ends_soon_whatever_it_does(stack: Stack, worker, client: Client, demo_model) -> None:
    log = stack.children["compute"].log
    logged = log.stat().st_size
    body = {"strategy": {"kind": "prior"}, "rows": 100_000, "shard_rows": 50_000, "seed": 1}
    job = client.jobs.create(demo_model, **body)
    while job.refresh().state != "running":
        time.sleep(0.01)
    at_work = worker()
    assert seconds_to_end(at_work) < SOON_SECONDS
    while stack.pids.get("compute") in (at_work.pid, None):
        time.sleep(0.01)
    assert seconds_to_end(worker()) < SOON_SECONDS  # its child still loads torch
    job.wait()
    assert seconds_to_end(worker()) < SOON_SECONDS  # it idles
    assert b"Traceback" not in log.read_bytes()[logged:]
    assert lost(stack, job.id) == 0


def lost(stack: Stack, job_id: str) -> int:
    """How often a lease on a shard of the job ran out."""
    with closing(sqlite3.connect(stack.data_dir / "latentmill.db")) as database:
        (times,) = database.execute("SELECT sum(lost) FROM work_items WHERE job_id = ?", [job_id]).fetchone()
    return int(times)
