"""A job that is disturbed, and what must hold of it afterwards."""

import random
from collections.abc import Sequence

from tests.faults.breaking import Fault
from tests.faults.follower import following
from tests.faults.mill import LONGEST_SECONDS, Mill
from tests.faults.promises import assert_nothing_left_over, assert_whole


def disturb(mill: Mill, faults: Sequence[Fault], chance: random.Random) -> list[str]:
    """A job during which each of these happens, one after the other; the names of those that came in time."""
    job, happened = mill.submit(", ".join(fault.name for fault in faults)), []
    with following(mill, job) as follower:
        for fault in faults:
            if mill.wait_moment(job, chance) and fault.breaks(mill, job, chance):
                happened.append(fault.name)
        job.wait(LONGEST_SECONDS)
    assert_whole(mill, job, mill.undisturbed, follower)
    assert_nothing_left_over(mill)
    if not any(fault.loses for fault in faults):
        assert mill.lost(job.id) == 0, "a fault of the surroundings counts as no attempt"
    return happened
