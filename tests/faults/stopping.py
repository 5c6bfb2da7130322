"""A job that is cancelled while its worker dies or sleeps, and then taken up again: only what is missing is made."""

import random
import signal

from sqlalchemy import select

from service.tables import ShardRow
from tests.faults.follower import following
from tests.faults.holders import seize
from tests.faults.mill import LONGEST_SECONDS, Mill, until
from tests.faults.promises import assert_nothing_left_over, assert_whole


def cancel_and_retry(mill: Mill, chance: random.Random, *, kills: bool) -> None:
    """The worker that should stop is killed instead, or it sleeps, and wakes when somebody else has made its shard."""
    job = mill.submit("cancel")
    with following(mill, job) as cancelled:
        mill.wait_moment(job, chance)
        item = seize(mill, "shard", job.id)
        assert item is not None
        assert job.cancel().state == "cancelling"
        if kills:
            item.signal(signal.SIGKILL)
        until(lambda: mill.is_over(job), f"{job.id} is cancelled")
    assert cancelled.events[-1][2]["state"] == "cancelled"
    kept = _committed(mill, job.id)
    assert set(cancelled.shards()) == set(kept)
    job.retry()
    with following(mill, job, after=cancelled) as follower:
        job.wait(LONGEST_SECONDS)
    if not kills:
        item.signal(signal.SIGCONT)
    assert_whole(mill, job, mill.undisturbed, follower)
    assert kept.items() <= _committed(mill, job.id).items(), "a shard that was there was made again"
    assert_nothing_left_over(mill)


def _committed(mill: Mill, job_id: str) -> dict[int, str]:
    """The keys of the committed shards, by their number."""
    with mill.database.reading() as session:
        return dict(session.execute(select(ShardRow.index, ShardRow.key).where(ShardRow.job_id == job_id)).all())
