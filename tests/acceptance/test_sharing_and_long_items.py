"""Two children of a real worker: they share a job, and long items outlive their messages but not their limits."""

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psutil
import pytest

from latentmill import Client
from latentmill.demo import digits
from latentmill.stack import Stack
from tests.acceptance.conftest import DEMO_BUNDLE, SHORT

pytestmark = pytest.mark.full  # a stack of its own

FIT_SECONDS, MARGIN_SECONDS = 1, 4  # on a crowded machine a fit looks at its clock every second or so


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with two children for compute, where every message is delivered again after a second."""
    environment = {
        **SHORT,
        "LATENTMILL_BROKER__VISIBILITY_SECONDS": "1",
        "LATENTMILL_TIME_LIMITS__FIT_SECONDS": str(FIT_SECONDS),
        "LATENTMILL_TIME_LIMITS__MARGIN_SECONDS": str(MARGIN_SECONDS),
    }
    with Stack(data_dir=tmp_path_factory.mktemp("pair"), port=0, workers=2, environment=environment) as running:
        yield running


@pytest.fixture(scope="module")
def api(pair: Stack) -> Client:
    return Client(url=pair.url, api_key=pair.api_key)


@pytest.fixture(scope="module")
def model(api: Client) -> Any:
    return api.models.add(DEMO_BUNDLE).wait()


def rows_of(stack: Stack, query: str, *given: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(stack.data_dir / "latentmill.db", timeout=20)) as database:
        return database.execute(query, given).fetchall()


def owners_of(stack: Stack, job_id: str) -> dict[str, int]:
    """The shards of the job that are done, by who did them."""
    done = "SELECT owner, count(*) FROM work_items WHERE job_id = ? AND state = 'done' GROUP BY owner"
    return dict(rows_of(stack, done, job_id))


def within(seconds: float, happened: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def test_two_children_share_a_job_and_a_small_one_does_not_wait_for_a_large_one(
    pair: Stack, api: Client, model
) -> None:
    first = api.jobs.create(model, strategy={"kind": "prior"}, rows=400 * 64, shard_rows=64, seed=0)
    within(60, lambda: len(owners_of(pair, first.id)) == 2)  # the second child may still load torch
    first.cancel()
    within(30, lambda: first.refresh().ended)
    large = api.jobs.create(model, strategy={"kind": "prior"}, rows=400 * 64, shard_rows=64, seed=1)
    within(60, lambda: large.refresh().data["progress"]["shards_done"] > 4)
    small = api.jobs.create(model, strategy={"kind": "prior"}, rows=64, seed=2).wait()
    assert small.state == "succeeded"
    done = large.refresh().data["progress"]["shards_done"]
    assert done < 400, "the large job was to be far from its end"
    large.cancel()
    within(30, lambda: large.refresh().ended)
    owners = owners_of(pair, large.id)
    assert len(owners) == 2, owners
    assert min(owners.values()) > 0.2 * sum(owners.values()), owners


def test_a_message_that_comes_again_while_its_item_is_at_work_does_nothing(pair: Stack, api: Client, model) -> None:
    log = pair.children["compute"].log
    job = api.jobs.create(model, strategy={"kind": "prior"}, rows=5_000_000, shard_rows=5_000_000, seed=3)
    query = "SELECT id, attempts FROM work_items WHERE job_id = ? AND state IN ('leased', 'cancelled')"
    ((item_id, _),) = within(60, lambda: rows_of(pair, query, job.id))
    within(60, lambda: f"{item_id}: nothing to claim" in log.read_text())
    assert job.refresh().state == "running"
    job.cancel()
    within(60, lambda: job.refresh().ended)
    assert rows_of(pair, query, job.id) == [(item_id, 1)]


@pytest.mark.full
def test_a_fit_that_takes_too_long_fails_and_a_child_that_hangs_at_it_is_killed(
    pair: Stack, api: Client, model
) -> None:
    dataset = api.datasets.add(digits.load().training, name="digits").wait()
    family = {"kind": "flow", "epochs": 10_000}
    fit = api.fits.create(model, dataset, family=family)
    query = "SELECT owner FROM work_items WHERE subject_id = ? AND kind = 'fit' AND state = 'leased'"
    ((owner,),) = within(60, lambda: rows_of(pair, query, fit.id))
    child = psutil.Process(int(owner.rpartition("/")[2]))
    os.kill(child.pid, signal.SIGSTOP)  # as one that hangs inside of a library
    within(60, lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    within(100, lambda: fit.refresh().state == "failed")
    assert fit.data["error"]["code"] == "time_limit_exceeded"
    assert "LATENTMILL_TIME_LIMITS__FIT_SECONDS" in fit.data["error"]["detail"]
    ((lost, attempts),) = rows_of(pair, "SELECT lost, attempts FROM work_items WHERE subject_id = ?", fit.id)
    assert attempts > lost >= 1
