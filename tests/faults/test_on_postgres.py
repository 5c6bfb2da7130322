"""The faults of a database server, and those that meet its locks: a job ends as if nothing had happened."""

import random
import time

import psycopg
import pytest

from latentmill.resources.jobs import Job
from tests.faults.breaking import named, stored
from tests.faults.disturbing import disturb
from tests.faults.follower import following
from tests.faults.holders import held
from tests.faults.mill import BUSY_SECONDS, LONGEST_SECONDS, Mill, sha256_of, until
from tests.faults.moments import MOST_TRIES
from tests.faults.promises import assert_nothing_left_over, assert_whole

ONCE = ["Postgres is restarted"], ["a child sleeps between its file and its commit"]
MORE = ["Postgres crashes"]
LONG_ROWS = 20_000  # of a shard that two processes are at for a while, at the same time
TOGETHER_SECONDS = 0.7 * BUSY_SECONDS  # longer, and they give up
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE jobs%'"

pytestmark = pytest.mark.timeout(300)  # the first of them waits for the stack too


@pytest.mark.parametrize("names", [*ONCE, pytest.param(MORE, marks=pytest.mark.full)], ids=", ".join)
def test_a_job_goes_on_when(postgres_mill: Mill, names: list[str]) -> None:
    assert disturb(postgres_mill, named(*names), random.Random(names[0])) == names


def test_two_last_commits_that_wait_for_each_other_end_the_job_once(postgres_mill: Mill) -> None:
    mill = postgres_mill
    expected = sha256_of(two_shards(mill).wait(LONGEST_SECONDS))
    for _ in range(MOST_TRIES):
        job = two_shards(mill)
        with following(mill, job) as follower:
            met = held_at_their_commits(mill, job)
            job.wait(LONGEST_SECONDS)
        assert_whole(mill, job, expected, follower)
        assert_nothing_left_over(mill)
        if met:
            return
    raise AssertionError("two last commits never met")


def two_shards(mill: Mill) -> Job:
    body = {"strategy": {"kind": "prior"}, "shard_rows": LONG_ROWS, "rows": 2 * LONG_ROWS, "seed": 5}
    return mill.client.jobs.create(mill.model, **body)


def held_at_their_commits(mill: Mill, job: Job) -> bool:
    """Hold the job's row until both of its shards are stored, and both of their commits wait for it; then let go."""
    assert mill.postgres is not None
    until(lambda: len(held(mill, "shard", job.id)) == 2 or mill.shards_done(job), "both shards are at work")
    time.sleep(0.05)  # what each begins with needs the row too
    deadline = time.monotonic() + TOGETHER_SECONDS
    with mill.nobody_commits(job), psycopg.connect(mill.postgres.url("postgres"), autocommit=True) as connection:
        while time.monotonic() < deadline:
            items = held(mill, "shard", job.id)
            waiting = connection.execute(WAITING).fetchone()
            if len(items) == 2 and all(stored(mill, job, item) for item in items) and waiting == (2,):
                return True
    return False
