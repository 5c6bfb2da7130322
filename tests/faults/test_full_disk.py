"""The disk fills up in the middle of a job, down to the last byte: under the database and the broker too."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from latentmill.errors import DatabaseFull, LatentmillError, StorageFull
from latentmill.stack import Stack
from service.settings import MIB
from tests.faults.conftest import SLOTS
from tests.faults.follower import following
from tests.faults.mill import LONGEST_SECONDS, SHARDS, SHORT, Mill, until
from tests.faults.promises import assert_nothing_left_over, assert_whole
from tests.small_disk import CAPACITY_BYTES, can_mount, fill, free, is_full, small_disk

RESERVE = 8 * MIB
ROOM = 3 * MIB // 2  # for a few of the shards
SHARD_ROWS = 2_000  # 128,000 bytes
FULL_SECONDS = 3.5  # beyond a lease
LONGEST = {"LATENTMILL_WORK__LONGEST_DELAY_SECONDS": "2"}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", params=["a small disk", pytest.param("a small capacity", marks=pytest.mark.full)])
def mill(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mill]:
    """A stack that keeps all it has on a small disk of its own, or under a cap where none can be mounted."""
    folder = tmp_path_factory.mktemp("disk") / "small"
    with ExitStack() as opened:
        if request.param == "a small disk" and can_mount(folder):
            opened.enter_context(small_disk(folder, "96m"))
            environment = {"LATENTMILL_STORAGE__RESERVE_BYTES": str(RESERVE)}
        else:
            folder.mkdir()
            environment = {"LATENTMILL_STORAGE__CAPACITY_BYTES": str(CAPACITY_BYTES)}
        # The data directory is the disk itself: what fills it counts against the cap.
        stack = opened.enter_context(
            Stack(data_dir=folder, port=0, workers=SLOTS, environment=SHORT | LONGEST | environment)
        )
        mill = Mill(stack, shard_rows=SHARD_ROWS)
        yield mill
        mill.close()


def filled(disk: Path) -> bool:
    """Whether nothing is left, now that somebody has taken what there was; a moment later there may be a bit again."""
    fill(disk)
    return is_full(disk) or not disk.is_mount()


def refused(mill: Mill, folder: Path) -> LatentmillError:
    """What an upload as large as a few shards is answered now."""
    upload = folder / "upload"
    upload.write_bytes(b"x" * MIB)
    with pytest.raises(LatentmillError) as caught:
        mill.client.models.add(upload, name="refused")
    return caught.value


def test_a_job_whose_disk_fills_up_says_so_and_ends_with_the_same_bytes(mill: Mill, tmp_path: Path) -> None:
    disk = mill.stack.data_dir
    fill(disk, leave_bytes=RESERVE + ROOM if disk.is_mount() else ROOM)
    job = mill.submit("the disk is full")
    with following(mill, job) as follower:
        until(lambda: str(job.refresh().data["state_reason"]).startswith("storage_full: "), "the job says why it waits")
        assert job.state == "running"
        assert ("storage.reserve_bytes" if disk.is_mount() else "storage.capacity_bytes") in job.data["state_reason"]
        assert isinstance(refused(mill, tmp_path), StorageFull)

        until(lambda: filled(disk), "somebody else has taken the reserve too")
        done = mill.shards_done(job)
        assert 0 < done < SHARDS
        time.sleep(FULL_SECONDS)
        assert job.refresh().state == "running", "what is there can be read"
        assert isinstance(refused(mill, tmp_path), StorageFull | DatabaseFull)
        in_flight = mill.shards_done(job) - done
        assert in_flight <= SLOTS, "only what was written before can still be committed, one for each process"

        free(disk)
        job.wait(LONGEST_SECONDS)
    assert_whole(mill, job, mill.undisturbed, follower)
    assert mill.lost(job.id) == 0, "a full disk counts nobody as lost"
    assert_nothing_left_over(mill)
