"""The faults of a database server, and those that meet its locks: a job of 40 shards ends as if nothing was."""

import random

import pytest

from tests.faults.breaking import named
from tests.faults.disturbing import disturb
from tests.faults.mill import Mill

ONCE = [
    ["Postgres crashes", "Postgres is restarted"],
    ["a child is killed between its file and its commit", "a child sleeps between its file and its commit"],
]


@pytest.mark.parametrize("names", ONCE, ids=", ".join)
def test_a_job_goes_on_when(postgres_mill: Mill, names: list[str]) -> None:
    assert disturb(postgres_mill, named(*names), random.Random(names[0])) == names
