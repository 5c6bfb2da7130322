"""Each fault once on the embedded stack: a job of 40 shards ends as if nothing had happened."""

import random
import signal

import pytest

from tests.faults.breaking import faults_of, named
from tests.faults.disturbing import disturb
from tests.faults.doors import DOORS
from tests.faults.follower import following
from tests.faults.holders import prolong, seize
from tests.faults.mill import LONGEST_SECONDS, Mill
from tests.faults.moments import FEW, Subjects, kill_during
from tests.faults.promises import assert_nothing_left_over, assert_whole
from tests.faults.stopping import cancel_and_retry

# One job for each line: whatever takes long stands last, for the job may be nearly over after it.
ONCE = [
    ["the API is killed", "beat is killed", "a child is killed"],
    ["the broker is killed", "the broker is killed and its data is gone", "the worker is killed"],
    ["every message is delivered five times"],
    ["a child sleeps beyond its lease"],
    ["SQLite is locked"],
]
MORE = [
    ["the broker hangs", "a child is killed between its file and its commit"],
    ["everything is killed"],
    ["three beats at once"],
]
ON_POSTGRES = ["a child sleeps between its file and its commit"]

pytestmark = pytest.mark.timeout(300)  # the first of them waits for the stack too


@pytest.mark.parametrize(
    "names", [*ONCE, *(pytest.param(names, marks=pytest.mark.full) for names in MORE)], ids=", ".join
)
def test_a_job_goes_on_when(sqlite_mill: Mill, names: list[str]) -> None:
    assert disturb(sqlite_mill, named(*names), random.Random(names[0])) == names


def test_no_fault_is_left_out() -> None:
    once = [name for names in [*ONCE, *MORE] for name in names]
    assert sorted(once + ON_POSTGRES) == sorted(fault.name for fault in faults_of("sqlite"))


def test_what_is_no_shard_is_done_again_when_its_worker_is_killed(sqlite_mill: Mill) -> None:
    kill_during(Subjects(sqlite_mill), ["encode", "fit", "finalize"])


@pytest.mark.full
def test_a_report_and_uploads_are_done_again_when_their_worker_is_killed(sqlite_mill: Mill) -> None:
    kill_during(Subjects(sqlite_mill), ["report", "read", "inspect"])


@pytest.mark.parametrize(
    "name", [name if "delete" in name else pytest.param(name, marks=pytest.mark.full) for name in DOORS]
)
def test_what_was_asked_for_happens_once_when(sqlite_mill: Mill, name: str) -> None:
    DOORS[name](sqlite_mill, random.Random(name))


@pytest.mark.full
@pytest.mark.parametrize("kills", [True, False], ids=["dies", "sleeps"])
def test_a_cancelled_job_is_taken_up_again_although_its_worker(sqlite_mill: Mill, kills: bool) -> None:
    cancel_and_retry(sqlite_mill, random.Random(0), kills=kills)


def test_what_a_killed_child_held_does_not_wait_for_the_end_of_its_lease(sqlite_mill: Mill) -> None:
    mill = sqlite_mill
    job = mill.submit("a child is killed, and its lease is long", shards=FEW)
    with following(mill, job) as follower:
        item = seize(mill, "shard", job.id)
        assert item is not None
        prolong(mill, item, 5 * LONGEST_SECONDS)
        item.signal(signal.SIGKILL)
        job.wait(LONGEST_SECONDS)
    assert_whole(mill, job, mill.undisturbed[:FEW], follower)
    assert mill.lost(job.id) == 1
    assert_nothing_left_over(mill)
