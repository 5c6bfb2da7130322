"""Each fault once on the embedded stack: a job of 40 shards ends as if nothing had happened."""

import random

import pytest

from tests.faults.breaking import faults_of, named
from tests.faults.disturbing import disturb
from tests.faults.mill import Mill

# One job for each line: whatever takes long stands last, for the job may be nearly over after it.
ONCE = [
    ["the API is killed", "beat is killed", "a child is killed"],
    ["the broker is killed", "the worker is killed"],
    ["the broker is killed and its data is gone", "the broker hangs"],
    ["every message is delivered five times"],
    ["everything is killed"],
    ["a child sleeps beyond its lease"],
    ["a child is killed between its file and its commit", "a child sleeps between its file and its commit"],
    ["three beats at once"],
    ["SQLite is locked"],
]


@pytest.mark.parametrize("names", ONCE, ids=", ".join)
def test_a_job_goes_on_when(sqlite_mill: Mill, names: list[str]) -> None:
    assert disturb(sqlite_mill, named(*names), random.Random(names[0])) == names


def test_no_fault_is_left_out() -> None:
    assert sorted(name for names in ONCE for name in names) == sorted(fault.name for fault in faults_of("sqlite"))
