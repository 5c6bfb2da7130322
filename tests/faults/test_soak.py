"""Faults over seeds, for SOAK_SECONDS: alone and one after another, on both databases; the bytes are the same."""

import os
import random
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.faults.breaking import faults_of
from tests.faults.disturbing import disturb
from tests.faults.doors import DOORS
from tests.faults.mill import Mill
from tests.faults.moments import KINDS, Subjects, kill_during
from tests.faults.stopping import cancel_and_retry

MOST_AT_ONCE = 4
Turn = Callable[[random.Random], list[str]]  # the faults that happened

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]


def turns(mill: Mill) -> tuple[list[Turn], list[Turn]]:
    """Each fault alone, once; and what is repeated over seeds."""
    faults, subjects = faults_of(mill.kind), Subjects(mill)

    def during(*kinds) -> list[str]:
        kill_during(subjects, kinds)
        return [f"a child is killed during {kind}" for kind in kinds]

    def door(name: str, chance: random.Random) -> list[str]:
        DOORS[name](mill, chance)
        return [name]

    def several(chance: random.Random) -> list[str]:
        return disturb(mill, chance.sample(faults, chance.randint(1, MOST_AT_ONCE)), chance)

    def other(chance: random.Random) -> list[str]:
        return during(*chance.sample(KINDS, chance.randint(1, MOST_AT_ONCE)))

    def request(chance: random.Random) -> list[str]:
        return door(chance.choice(list(DOORS)), chance)

    def stopping(chance: random.Random) -> list[str]:
        kills = chance.random() < 0.5
        cancel_and_retry(mill, chance, kills=kills)
        return [f"a job is cancelled, its worker {'dies' if kills else 'sleeps'}, and it is taken up again"]

    alone: list[Turn] = [lambda chance, fault=fault: disturb(mill, [fault], chance) for fault in faults]
    alone += [lambda chance, kind=kind: during(kind) for kind in KINDS]
    alone += [lambda chance, name=name: door(name, chance) for name in DOORS]
    return [*alone, stopping], [several, several, several, other, request, stopping]


@pytest.mark.parametrize("mill", ["sqlite_mill", "postgres_mill"])
def test_whatever_is_broken_the_bytes_are_the_same(mill: str, request, capsys: pytest.CaptureFixture[str]) -> None:
    the_mill: Mill = request.getfixturevalue(mill)
    alone, repeated = turns(the_mill)
    began, seconds = time.monotonic(), float(os.environ.get("SOAK_SECONDS", "600")) / 2
    first = seed = int(os.environ.get("SOAK_SEED", "0"))  # of a run that failed, to begin with it
    happened: Counter[str] = Counter()
    while time.monotonic() - began < seconds:
        chance = random.Random(seed)
        turn = alone[seed] if seed < len(alone) else chance.choice(repeated)
        try:
            happened.update(turn(chance))
        except BaseException:
            with capsys.disabled():
                print(f"\n{the_mill.kind}: {turn.__qualname__} after {happened.total()} faults; SOAK_SEED={seed}")
            raise
        seed += 1
    with capsys.disabled():
        print(f"\n{the_mill.kind}: {seed - first} runs, {happened.total()} faults in {time.monotonic() - began:.0f} s")
        for name, times in sorted(happened.items()):
            print(f"  {times:5d}  {name}")
    assert seed > first
