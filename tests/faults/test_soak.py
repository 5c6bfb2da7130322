"""Faults over seeds, for SOAK_SECONDS: alone and one after another, on both databases; the bytes are the same."""

import os
import random
import time
from collections import Counter

import pytest

from tests.faults.breaking import faults_of
from tests.faults.disturbing import disturb
from tests.faults.mill import Mill

MOST_AT_ONCE = 4

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]


@pytest.mark.parametrize("mill", ["sqlite_mill", "postgres_mill"])
def test_whatever_is_broken_the_bytes_are_the_same(mill: str, request, capsys: pytest.CaptureFixture[str]) -> None:
    the_mill: Mill = request.getfixturevalue(mill)
    faults = faults_of(the_mill.kind)
    deadline, runs = time.monotonic() + float(os.environ.get("SOAK_SECONDS", "600")) / 2, 0
    happened: Counter[str] = Counter()
    while time.monotonic() < deadline:
        chance = random.Random(runs)
        alone = runs < len(faults)
        chosen = [faults[runs]] if alone else chance.sample(faults, chance.randint(1, MOST_AT_ONCE))
        try:
            happened.update(disturb(the_mill, chosen, chance))
        except BaseException:
            with capsys.disabled():
                print(f"\nseed {runs}: {[fault.name for fault in chosen]}")
            raise
        runs += 1
    with capsys.disabled():
        print(f"\n{the_mill.kind}: {runs} jobs of 40 shards, {happened.total()} faults")
        for name, times in sorted(happened.items()):
            print(f"  {times:5d}  {name}")
    assert runs > 0
