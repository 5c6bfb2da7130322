"""The faults that hit a job of 40 shards: each breaks something real, once, at a random moment."""

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import httpx
import psycopg
from sqlalchemy import select

from latentmill.resources.jobs import Job
from service.queue import Queue
from service.settings import BrokerSettings
from service.tables import ShardRow, WorkItemRow
from tests.faults import processes
from tests.faults.holders import LOST_ATTEMPTS, Held, expendable, held, seize
from tests.faults.mill import BUSY_SECONDS, LEASE_SECONDS, Mill, until

TIMES = 5  # that every message is delivered


Breaks = Callable[[Mill, Job, random.Random], bool]  # False where the job was over before it could happen


@dataclass(frozen=True)
class Fault:
    """What is broken, and what may come of it."""

    name: str
    breaks: Breaks
    loses: bool = False  # a lease may run out, because a process that holds one ends or sleeps
    only: str | None = None  # a kind of database


def kill_a_child(mill: Mill, job: Job, chance: random.Random) -> bool:
    """SIGKILL one of the compute worker's processes in the middle of a shard."""
    found = expendable(mill, "shard", job.id)
    if found:
        chance.choice(found).signal(signal.SIGKILL)
    return bool(found)


def kill_the_worker(mill: Mill, job: Job, chance: random.Random) -> bool:
    """SIGKILL the compute worker, and with it both of its processes."""
    found = expendable(mill, "shard", job.id)
    processes.kill(mill, "compute")
    return bool(found)


def kill_everything(mill: Mill, job: Job, chance: random.Random) -> bool:
    """SIGKILL all at once, as when the power fails."""
    found = expendable(mill, "shard", job.id)
    processes.kill(mill, *processes.ALL)
    return bool(found)


def kill_the_api(mill: Mill, job: Job, chance: random.Random) -> bool:
    processes.kill(mill, "api")
    return True


def kill_beat(mill: Mill, job: Job, chance: random.Random) -> bool:
    processes.kill(mill, "beat")
    return True


def kill_the_broker(mill: Mill, job: Job, chance: random.Random) -> bool:
    """SIGKILL the broker, which comes back with what it had written down."""
    processes.kill(mill, "broker")
    return True


def wipe_the_broker(mill: Mill, job: Job, chance: random.Random) -> bool:
    """SIGKILL the broker, which comes back with nothing."""
    with processes.kept_down(mill, "broker"):
        processes.wipe_broker(mill)
        time.sleep(chance.uniform(0, 1))
    return True


def hang_the_broker(mill: Mill, job: Job, chance: random.Random) -> bool:
    """The broker takes connections and says nothing for a while."""
    with processes.stopped(mill, "broker"):
        time.sleep(chance.uniform(1, 3))
    return True


def stop_a_child(mill: Mill, job: Job, chance: random.Random) -> bool:
    """A process sleeps in the middle of a shard until somebody else has made it, and then wakes."""
    item = seize(mill, "shard", job.id)
    if item is not None:
        _let_another_make(mill, job, item)
    return item is not None


def stop_a_child_before_its_commit(mill: Mill, job: Job, chance: random.Random) -> bool:
    """The same with a file that is stored and only not committed: it must not appear, nor take another's away."""
    item = _seize_before_commit(mill, job)
    if item is not None:
        _let_another_make(mill, job, item)
        until(lambda: stored(mill, job, item) is None, f"the sleeper has deleted what it made of shard {item.index}")
    return item is not None


def kill_a_child_before_its_commit(mill: Mill, job: Job, chance: random.Random) -> bool:
    """A file is stored that nobody will ever commit."""
    item = _seize_before_commit(mill, job)
    if item is not None:
        item.signal(signal.SIGKILL)
    return item is not None


def deliver_five_times(mill: Mill, job: Job, chance: random.Random) -> bool:
    """Four more messages for every item of the job, at random moments, also after it is over."""
    broker = BrokerSettings(url=processes.process(mill, "api").environ()["LATENTMILL_BROKER__URL"])
    queue = Queue(mill.settings.model_copy(update={"broker": broker}))
    with closing(queue):
        copies: dict[str, int] = {}
        while not mill.is_over(job) or any(sent < TIMES - 1 for sent in copies.values()):
            with mill.database.reading() as session:
                items = session.execute(
                    select(WorkItemRow.id, WorkItemRow.queue, WorkItemRow.kind).where(WorkItemRow.job_id == job.id)
                ).all()
            for item_id, name, kind in chance.sample(items, len(items) // 4 + 1):
                if copies.setdefault(item_id, 0) < TIMES - 1:
                    queue.send(name, kind, item_id)
                    copies[item_id] += 1
            time.sleep(0.05)
    return True


def run_three_beats(mill: Mill, job: Job, chance: random.Random) -> bool:
    """Two more beats until the job is over, with a child killed for them to quarrel about."""
    with processes.doubled(mill, "beat", 2):
        killed = kill_a_child(mill, job, chance)
        until(lambda: mill.is_over(job), f"{job.id} is over")
    return killed


def lock_the_database(mill: Mill, job: Job, chance: random.Random) -> bool:
    """Somebody holds SQLite's lock for longer than anybody waits for it, and than a lease lasts."""
    with closing(sqlite3.connect(mill.settings.data_dir / "latentmill.db", timeout=60)) as database:
        database.execute("BEGIN IMMEDIATE")
        locked = time.monotonic()
        assert_says_why(mill)
        time.sleep(max(0.0, max(BUSY_SECONDS, LEASE_SECONDS) + 1 - (time.monotonic() - locked)))
    return True


def restart_postgres(mill: Mill, job: Job, chance: random.Random) -> bool:
    """The database is shut down, which ends every connection, and is away for longer than a lease."""
    assert mill.postgres is not None
    mill.postgres.stop()
    assert_says_why(mill)
    time.sleep(LEASE_SECONDS + 0.5)
    mill.postgres.start()
    return True


def crash_postgres(mill: Mill, job: Job, chance: random.Random) -> bool:
    """SIGKILL of one process of the database: it ends all others, and recovers from its log."""
    assert mill.postgres is not None
    with psycopg.connect(mill.postgres.url("postgres")) as connection:
        os.kill(connection.info.backend_pid, signal.SIGKILL)
    return True


def assert_says_why(mill: Mill) -> None:
    """While the database is away a request is answered, soon, and says so."""
    key = {"Authorization": f"Bearer {mill.stack.api_key}"}
    asked = time.monotonic()
    answer = httpx.post(f"{mill.stack.url}/v1/jobs/job_none/cancel", headers=key, timeout=30, trust_env=False)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["retryable"]) == (503, "database_fault", True), problem
    assert "Retry-After" in answer.headers
    assert time.monotonic() - asked < BUSY_SECONDS + 5


def stored(mill: Mill, job: Job, item: Held) -> str | None:
    """The key of the file that the holder of this very item has stored, if it is there."""
    name = f"/jobs/{job.id}/{item.index}-{item.fence}-"
    return next((key for key in mill.objects() if name in key), None)


def _seize_before_commit(mill: Mill, job: Job) -> Held | None:
    """An item whose holder is stopped (SIGSTOP) between the storing of its file and the commit; None if all ended."""
    while expendable(mill, "shard", job.id):
        with mill.nobody_commits(job):
            deadline = time.monotonic() + BUSY_SECONDS / 2
            while time.monotonic() < deadline:
                for item in held(mill, "shard", job.id):
                    if item.lost + 1 < LOST_ATTEMPTS and stored(mill, job, item) is not None:
                        item.stop()
                        return item
    return None


def _let_another_make(mill: Mill, job: Job, item: Held) -> None:
    def made() -> bool:
        with mill.database.reading() as session:
            row = session.get(ShardRow, (job.id, item.index))
        return row is not None and row.fence > item.fence

    try:
        until(made, f"somebody else has made shard {item.index} of {job.id}")
    finally:
        item.signal(signal.SIGCONT)


FAULTS = (
    Fault("a child is killed", kill_a_child, loses=True),
    Fault("the worker is killed", kill_the_worker, loses=True),
    Fault("everything is killed", kill_everything, loses=True),
    Fault("the API is killed", kill_the_api),
    Fault("beat is killed", kill_beat),
    Fault("the broker is killed", kill_the_broker),
    Fault("the broker is killed and its data is gone", wipe_the_broker),
    Fault("the broker hangs", hang_the_broker),
    Fault("a child sleeps beyond its lease", stop_a_child, loses=True),
    Fault("a child sleeps between its file and its commit", stop_a_child_before_its_commit, loses=True),
    Fault("a child is killed between its file and its commit", kill_a_child_before_its_commit, loses=True),
    Fault("every message is delivered five times", deliver_five_times),
    Fault("three beats at once", run_three_beats, loses=True),
    Fault("SQLite is locked", lock_the_database, only="sqlite"),
    Fault("Postgres is restarted", restart_postgres, only="postgresql"),
    Fault("Postgres crashes", crash_postgres, only="postgresql"),
)


def faults_of(kind: str) -> list[Fault]:
    """Those that can happen on this kind of database."""
    return [fault for fault in FAULTS if fault.only in (None, kind)]


def named(*names: str) -> list[Fault]:
    """The faults with these names, in this order."""
    by_name = {fault.name: fault for fault in FAULTS}
    return [by_name[name] for name in names]
