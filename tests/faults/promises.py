"""What must hold after every fault."""

import hashlib
from collections.abc import Sequence

from sqlalchemy import select

from latentmill.resources.jobs import Job
from service.garbage import Collector
from service.storage import open_storage
from service.tables import (
    DatasetRow,
    EncodingRow,
    FitRow,
    JobRow,
    ModelRow,
    ReportRow,
    ShardRow,
    WorkItemRow,
)
from tests.faults.follower import Follower
from tests.faults.mill import Mill, sha256_of, until

COLLECTED_SECONDS = 30.0  # what is younger than a moment is left for the next look
NAMING = (
    ModelRow.key,
    DatasetRow.key,
    DatasetRow.labels_upload_key,
    DatasetRow.rows_key,
    DatasetRow.labels_key,
    EncodingRow.key,
    FitRow.parameters_key,
    ReportRow.page_key,
    ShardRow.key,
)


def assert_whole(mill: Mill, job: Job, expected: Sequence[str], follower: Follower | None = None) -> None:
    """The job succeeded, every shard once, with the bytes of an undisturbed run, on the disk too."""
    assert job.refresh().state == "succeeded", job.data
    assert sha256_of(job) == expected
    with mill.database.reading() as session:
        keys = session.scalars(select(ShardRow.key).where(ShardRow.job_id == job.id).order_by(ShardRow.index)).all()
        items = session.execute(select(WorkItemRow.kind, WorkItemRow.index, WorkItemRow.state).where(
            WorkItemRow.subject_id == job.id)).all()  # fmt: skip
        events = session.execute(select(JobRow.event_number).where(JobRow.id == job.id)).scalar_one()
    assert [hashlib.sha256((mill.settings.files_dir / key).read_bytes()).hexdigest() for key in keys] == expected
    done = [("finalize", None, "done"), *(("shard", index, "done") for index in range(len(expected)))]
    assert sorted(tuple(item) for item in items if item.state != "cancelled") == done
    if follower is not None:
        assert [number for number, _, _ in follower.events] == list(range(1, events + 1)), "a gap, or an event twice"
        assert sorted(follower.shards()) == list(range(len(expected)))


def assert_nothing_left_over(mill: Mill) -> None:
    """Every file that the database names is there, and after the collector has looked no other, nor half a one."""
    collector = Collector(mill.database, open_storage(mill.settings), mill.settings)

    def tidy() -> bool:
        collector.collect_everything()
        return mill.objects() == named(mill) and not mill.half_made()

    until(lambda: not named(mill) - mill.objects(), "every file that the database names is there", 1)
    until(tidy, "the collector has left what the database names alone, and nothing else", COLLECTED_SECONDS)


def named(mill: Mill) -> set[str]:
    """The keys of all files that something in the database names."""
    with mill.database.reading() as session:
        keys = {key for column in NAMING for key in session.scalars(select(column).where(column.is_not(None)))}
        for files in session.scalars(select(JobRow.files)):
            keys |= {file["key"] for file in files.values()}
    return keys
