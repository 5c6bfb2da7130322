"""Who holds a work item at this moment, and stopping that process while it certainly does."""

import os
import signal
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select, update

from service.database import database_time
from service.tables import WorkItemRow
from service.work import Kind
from tests.faults.mill import LONGEST_SECONDS, Mill, until

LOST_ATTEMPTS = 5  # the default; no item is lost so often on purpose


@dataclass(frozen=True)
class Held:
    """A work item in the hands of a process."""

    item_id: str
    index: int | None
    fence: int
    lost: int
    process_id: int

    def signal(self, number: int) -> None:
        """Send a signal to the holder, if it still lives."""
        with suppress(ProcessLookupError):
            os.kill(self.process_id, number)

    def stop(self) -> None:
        """SIGSTOP the holder, and return when it stands still: all of its threads, which may be a while after one.

        While the first waits for the disk, the others go on: the heartbeat might take SQLite's lock to sleep with.
        """
        self.signal(signal.SIGSTOP)
        until(lambda: _stands_still(self.process_id), f"{self.process_id} has stopped")


def held(mill: Mill, kind: Kind, subject_id: str) -> list[Held]:
    """The items of this kind and resource that are leased now."""
    wanted = (WorkItemRow.id, WorkItemRow.index, WorkItemRow.fence, WorkItemRow.lost, WorkItemRow.owner)
    leased = (WorkItemRow.state == "leased", WorkItemRow.kind == kind, WorkItemRow.subject_id == subject_id)
    with mill.database.reading() as session:
        rows = session.execute(select(*wanted).where(*leased).order_by(WorkItemRow.id)).all()
    return [Held(*row[:-1], process_id=int(row[-1].rpartition("/")[2])) for row in rows]


def expendable(mill: Mill, kind: Kind, subject_id: str) -> list[Held]:
    """The items that are leased, once there are some that may all be lost once more; none where all have ended."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while _is_live(mill, kind, subject_id):
        found = held(mill, kind, subject_id)
        if found and all(item.lost + 1 < LOST_ATTEMPTS for item in found):
            return found
        assert time.monotonic() < deadline, f"no {kind} of {subject_id} is held"
        time.sleep(0.003)
    return []


def seize(mill: Mill, kind: Kind, subject_id: str) -> Held | None:
    """An item whose holder is stopped (SIGSTOP) while it certainly holds it; None where all have ended."""
    while found := expendable(mill, kind, subject_id):
        for item in found:
            item.stop()
            if item in held(mill, kind, subject_id) and not _sqlite_is_locked(mill):
                return item
            item.signal(signal.SIGCONT)
    return None


def prolong(mill: Mill, item: Held, seconds: float) -> None:
    """The lease of this item, whose holder is stopped, lasts so long from now."""
    with mill.database.writing() as session:
        session.execute(
            update(WorkItemRow).where(WorkItemRow.id == item.item_id).values(lease_until=database_time(seconds))
        )


def _is_live(mill: Mill, kind: Kind, subject_id: str) -> bool:
    """Whether an item is still to come or at work."""
    with mill.database.reading() as session:
        states = set(
            session.execute(
                select(WorkItemRow.state).where(WorkItemRow.kind == kind, WorkItemRow.subject_id == subject_id)
            ).scalars()
        )
    return not states or bool(states & {"pending", "leased"})


def _stands_still(process_id: int) -> bool:
    """Whether every thread of the process is stopped; or it is gone."""
    try:
        stats = [path.read_text() for path in Path(f"/proc/{process_id}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):  # a thread has ended meanwhile
        return not Path(f"/proc/{process_id}").exists()
    return all(stat.rpartition(")")[2].split()[0] in "TXZ" for stat in stats)


def _sqlite_is_locked(mill: Mill) -> bool:
    """Whether the process just stopped may hold the only lock of SQLite, for which everybody would wait."""
    if mill.kind != "sqlite":
        return False
    with closing(sqlite3.connect(mill.settings.data_dir / "latentmill.db", timeout=0)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
    return False
