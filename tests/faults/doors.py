"""The API killed in the middle of a request: what was asked for happens once, or it did not happen."""

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from latentmill.errors import Gone, LatentmillError
from service.tables import DatasetRow, JobRow
from tests.faults import processes
from tests.faults.mill import LONGEST_SECONDS, Mill, until
from tests.faults.moments import FEW, MOST_TRIES, fresh
from tests.faults.promises import assert_nothing_left_over, assert_whole

SOON_SECONDS = 3.0  # in which a request is answered while the broker is away, on a crowded machine
LEFT_FILES = 2_000  # in a job's folder: removing it then takes long enough to be killed in


def kill_during_submit(mill: Mill, chance: random.Random) -> None:
    """The client asks again with the same Idempotency-Key: there is one job."""
    tag = fresh("submit")
    with _asked(lambda: mill.submit(tag, shards=FEW)) as asked:
        time.sleep(chance.uniform(0, 0.03))
        processes.kill(mill, "api")
        job = asked.result(LONGEST_SECONDS)
    job.wait(LONGEST_SECONDS)
    with mill.database.reading() as session:
        jobs = [row.id for row in session.scalars(select(JobRow)) if row.metadata_ == {"fault": tag}]
    assert jobs == [job.id]
    assert_whole(mill, job, mill.undisturbed[:FEW])


def kill_between_submit_and_publish(mill: Mill, chance: random.Random) -> None:
    """The broker is away: the request is answered all the same. Then the API dies, and nobody has told a worker."""
    with processes.kept_down(mill, "broker"):
        asked = time.monotonic()
        job = mill.submit("submit without a broker", shards=FEW)
        assert time.monotonic() - asked < SOON_SECONDS
        processes.kill(mill, "api")
    job.wait(LONGEST_SECONDS)
    assert_whole(mill, job, mill.undisturbed[:FEW])
    assert mill.lost(job.id) == 0


def kill_during_upload(mill: Mill, chance: random.Random) -> None:
    """The client sends the file again: there is one dataset, and nothing of the first attempt."""
    images = np.random.default_rng(chance.randrange(2**32)).integers(0, 256, (50_000, 8, 8), dtype=np.uint8)
    name, incoming = fresh("upload"), mill.settings.files_dir / ".incoming"
    with _asked(lambda: mill.client.datasets.add(images, name=name)) as asked:
        until(lambda: any(incoming.iterdir()) or asked.done(), "an upload arrives")
        processes.kill(mill, "api")
        dataset = asked.result(LONGEST_SECONDS)
    assert dataset.wait(LONGEST_SECONDS).data["rows"] == len(images)
    with mill.database.reading() as session:
        assert len(session.scalars(select(DatasetRow).where(DatasetRow.name == name)).all()) == 1
    dataset.delete()
    assert_nothing_left_over(mill)


def kill_during_delete(mill: Mill, chance: random.Random) -> None:
    """A job is deleted, and half of its folder: the rest goes too."""
    for _ in range(MOST_TRIES):
        if _killed_in_a_delete(mill):
            return
    raise AssertionError("the API was never killed in the middle of a delete")


DOORS: dict[str, Callable[[Mill, random.Random], None]] = {
    "the API is killed during a submit": kill_during_submit,
    "the API is killed between a submit and its publishing": kill_between_submit_and_publish,
    "the API is killed during an upload": kill_during_upload,
    "the API is killed during a delete": kill_during_delete,
}


def _killed_in_a_delete(mill: Mill) -> bool:
    """Whether some of the job's files were left when the API was killed; now none are."""
    job = mill.submit("delete", shards=FEW).wait(LONGEST_SECONDS)
    folder = next(key for key in mill.objects() if f"/jobs/{job.id}/" in key).rpartition("/")[0]
    for number in range(LEFT_FILES):  # as attempts leave them that were killed before their commit
        (mill.settings.files_dir / folder / f"0-0-{number:064x}").touch()
    with _asked(job.delete) as asked:
        until(lambda: _is_deleted(mill, job.id) or asked.done(), f"{job.id} is deleted")
        processes.kill(mill, "api")
        with suppress(LatentmillError):  # not asked again: a second DELETE would be answered 410
            asked.result(LONGEST_SECONDS)
    left = mill.objects(folder)
    with pytest.raises(Gone):
        job.refresh()
    assert_nothing_left_over(mill)
    assert not mill.objects(folder)
    return bool(left)


def _is_deleted(mill: Mill, job_id: str) -> bool:
    with mill.database.reading() as session:
        return session.execute(select(JobRow.deleted_at).where(JobRow.id == job_id)).scalar_one() is not None


@contextmanager
def _asked(ask: Callable[[], Any]) -> Iterator[Future[Any]]:
    """A request that is on its way while the block runs."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(ask)
