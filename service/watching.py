"""Watching rows for all who wait: one thread and one query look for every waiting client of this process.

A client that waits costs no thread and no connection. What it waits for is a mark: a small value that its row shows,
such as a state or the number of the newest event. The client has read the row and knows its mark; it is woken when a
later look finds another one.
"""

import asyncio
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from sqlalchemy import select
from sqlalchemy.orm import Session

from latentmill.errors import DatabaseFault
from service.database import Base, Database

log = logging.getLogger("latentmill.service")

Mark = Hashable
Look = Callable[[Session, Sequence[str]], dict[str, Mark]]  # the marks of these rows; one that is gone has none
Item = TypeVar("Item")

FIRST_LOOK_SECONDS = 0.03  # a small job is over in less than the longest
LONGEST_LOOK_SECONDS = 0.3
AFTER_FAULT_SECONDS = 1.0
AT_A_TIME = 500  # ids in one query
READERS = 6  # Python runs one thread at a time; these are enough to have some wait for the database meanwhile


def states_of(table: type[Base]) -> Look:
    """Marks are the states of the table's rows; a row that is deleted has none."""
    columns = table.__table__.c

    def look(session: Session, ids: Sequence[str]) -> dict[str, Mark]:
        rows = select(columns.id, columns.state).where(columns.id.in_(ids), columns.deleted_at.is_(None))
        return {row_id: state for row_id, state in session.execute(rows)}

    return look


@dataclass(eq=False)
class _Watch:
    look: Look
    row_id: str
    mark: Mark
    changed: asyncio.Future[None]
    next_look: float
    pause: float = FIRST_LOOK_SECONDS

    def wake(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.changed.get_loop().call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if not self.changed.done():
            self.changed.set_result(None)


class Watcher:
    """Looks at the rows that are watched, all in one transaction, and wakes those whose row has changed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watches: set[_Watch] = set()
        self._reads: dict[Hashable, asyncio.Future[Any]] = {}
        self._readers = CapacityLimiter(READERS)
        self._waking = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, look: Look, row_id: str, mark: Mark) -> Iterator[asyncio.Future[None]]:
        """A future that is done once a look finds another mark than `mark`, which was read before."""
        changed = asyncio.get_running_loop().create_future()
        watch = _Watch(look, row_id, mark, changed, time.monotonic() + FIRST_LOOK_SECONDS)
        with self._waking:
            self._watches.add(watch)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
                self._thread.start()
            self._waking.notify()
        try:
            yield changed
        finally:
            with self._waking:
                self._watches.discard(watch)

    async def read(self, read: Callable[[], Item]) -> Item:
        """What `read` gives, on one of a few threads: more would only take turns, also with one that writes."""
        return await to_thread.run_sync(read, limiter=self._readers)

    def read_once(self, key: Hashable, read: Callable[[], Item]) -> Awaitable[Item]:
        """What `read` gives; those who ask for the same key while it runs share it.

        For clients that were woken together. What they get may be older than their look: they compare its mark.
        """
        running = self._reads.get(key)
        if running is None:
            running = self._reads[key] = asyncio.ensure_future(self.read(read))
            running.add_done_callback(lambda done: self._forget(key, done))
        return asyncio.shield(running)  # one client that goes must not take the answer from the others

    def close(self) -> None:
        """End the thread."""
        with self._waking:
            self._closing = True
            self._waking.notify()
        if self._thread is not None:
            self._thread.join()

    def _forget(self, key: Hashable, done: asyncio.Future[Any]) -> None:
        del self._reads[key]
        if not done.cancelled():
            done.exception()  # seen, even if everyone who asked has gone

    def _run(self) -> None:
        while due := self._next():
            try:
                found = self._looked(due)
            except DatabaseFault as fault:
                # Those who wait go on waiting: it may be back before their time is over.
                log.warning("watching: %s", fault.detail)
                self._postpone(due, AFTER_FAULT_SECONDS)
            except Exception:
                # A defect must not end the thread, or everyone would wait in vain from now on.
                log.exception("watching")
                self._postpone(due, AFTER_FAULT_SECONDS)
            else:
                for watch in due:
                    if found[watch.look].get(watch.row_id) != watch.mark:
                        watch.wake()

    def _next(self) -> list[_Watch]:
        """Wait for the next look: what is looked at then. Empty at the end."""
        looked_at = time.monotonic()
        with self._waking:
            while not self._closing:
                now = time.monotonic()
                # Never at once after the last look: those who come within a moment share the next one.
                first = min((watch.next_look for watch in self._watches), default=None)
                pause = None if first is None else max(first, looked_at + FIRST_LOOK_SECONDS) - now
                if pause is not None and pause <= 0:
                    return self._due(now)
                self._waking.wait(pause)
        return []

    def _due(self, now: float) -> list[_Watch]:
        due = [watch for watch in self._watches if watch.next_look <= now]
        for watch in due:
            watch.next_look = now + watch.pause
            watch.pause = min(1.5 * watch.pause, LONGEST_LOOK_SECONDS)
        return due

    def _postpone(self, watches: list[_Watch], seconds: float) -> None:
        with self._waking:
            for watch in watches:
                watch.next_look = time.monotonic() + seconds

    def _looked(self, due: list[_Watch]) -> dict[Look, dict[str, Mark]]:
        wanted: dict[Look, set[str]] = defaultdict(set)
        for watch in due:
            wanted[watch.look].add(watch.row_id)
        found: dict[Look, dict[str, Mark]] = {}
        with self._database.reading() as session:
            for look, ids in wanted.items():
                ordered, found[look] = sorted(ids), {}
                for start in range(0, len(ordered), AT_A_TIME):
                    found[look] |= look(session, ordered[start : start + AT_A_TIME])
        return found
