"""The heartbeat of a claim: one thread that renews the lease and listens for a request to stop."""

import contextvars
import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from sqlalchemy import select, update

from latentmill.errors import DatabaseFault, TimeLimitExceeded
from service.database import Database, database_time
from service.settings import WorkSettings
from service.work.claims import Claim, FenceLost, Stopped
from service.work.tables import WorkItemRow

logger = logging.getLogger(__name__)


class Heartbeat:
    """Keeps a claim alive while its holder works: `with Heartbeat(database, claim, settings.work) as heartbeat`.

    Made at the claim: `limit_seconds` count from there, and `limit_setting` is where they were set. `give_up` is called
    where the holder has not looked at its clock `grace_seconds` later: it may hang, and will be killed.
    """

    def __init__(
        self,
        database: Database,
        claim: Claim,
        settings: WorkSettings,
        *,
        limit_seconds: float = math.inf,
        limit_setting: str = "",
        grace_seconds: float = 0.0,
        give_up: Callable[[TimeLimitExceeded], None] | None = None,
    ) -> None:
        self._database = database
        self._claim = claim
        self._settings = settings
        self._limit_seconds = limit_seconds
        self._limit_setting = limit_setting
        self._grace_seconds = grace_seconds
        self._give_up = give_up
        self._time_is_up = time.monotonic() + limit_seconds
        self._ending = threading.Event()
        self._stop_requested = threading.Event()
        self._fence_lost = threading.Event()
        self._thread = threading.Thread(
            target=contextvars.copy_context().run,  # its log lines are about the same item
            args=(self._run,),
            name=f"heartbeat-{claim.item_id}",
            daemon=True,
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()

    def stop_requested(self) -> bool:
        """Whether the holder should stop: it was asked to, or the item is not its own any more."""
        return self._stop_requested.is_set() or self._fence_lost.is_set()

    def check(self) -> None:
        """Raises FenceLost, Stopped or TimeLimitExceeded when the holder should stop; costs next to nothing."""
        if self._fence_lost.is_set():
            raise FenceLost(f"{self._claim.kind} {self._claim.item_id}: the lease ran out")
        if self._stop_requested.is_set():
            raise Stopped(f"{self._claim.kind} {self._claim.item_id}: asked to stop")
        if (error := self.overtime()) is not None:
            raise error

    def overtime(self) -> TimeLimitExceeded | None:
        """The error of an item that has taken longer than it may; None while it has time."""
        if time.monotonic() <= self._time_is_up:
            return None
        return TimeLimitExceeded(
            f"This {self._claim.kind} took more than {self._limit_seconds:g} s; {self._limit_setting} allows more"
        )

    def _run(self) -> None:
        renew_at = time.monotonic() + self._settings.heartbeat_seconds
        while not self._ending.wait(self._settings.stop_poll_seconds):
            try:
                if self._hangs():
                    return
                if time.monotonic() >= renew_at:
                    held, stop = self._renew()
                    renew_at = time.monotonic() + self._settings.heartbeat_seconds
                else:
                    held, stop = self._look()
            except DatabaseFault as fault:
                # Whether the lease still holds is decided by the fence at the commit, not guessed here.
                logger.warning("heartbeat of %s: %s", self._claim.item_id, fault.detail)
                continue
            if stop:
                self._stop_requested.set()
            if not held:
                self._fence_lost.set()
                return

    def _hangs(self) -> bool:
        error = self.overtime()
        if error is None or self._give_up is None or time.monotonic() <= self._time_is_up + self._grace_seconds:
            return False
        self._fence_lost.set()
        with suppress(FenceLost):
            self._give_up(error)
        return True

    def _look(self) -> tuple[bool, bool]:
        with self._database.reading() as session:
            row = session.execute(
                select(WorkItemRow.fence, WorkItemRow.state, WorkItemRow.stop_requested).where(
                    WorkItemRow.id == self._claim.item_id
                )
            ).one_or_none()
        if row is None:
            return False, False
        return row.fence == self._claim.fence and row.state == "leased", row.stop_requested

    def _renew(self) -> tuple[bool, bool]:
        with self._database.writing() as session:
            row = session.execute(
                update(WorkItemRow)
                .where(
                    WorkItemRow.id == self._claim.item_id,
                    WorkItemRow.fence == self._claim.fence,
                    WorkItemRow.state == "leased",
                )
                .values(lease_until=database_time(self._settings.lease_seconds))
                .returning(WorkItemRow.stop_requested)
            ).one_or_none()
        return (True, row.stop_requested) if row is not None else (False, False)
