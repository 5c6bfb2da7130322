"""The publisher: keeps a few messages of every queue at the broker, the fairest first."""

import logging
import threading
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from latentmill.errors import BrokerFault, DatabaseFault
from service.database import Database, database_time
from service.queue import Queue
from service.settings import Settings
from service.work.broker import forget_fault, note_fault, noted_fault
from service.work.fairness import next_items, waiting_queues
from service.work.tables import BUSY, PUBLISHED, WorkItemRow
from service.work.workers import live_workers

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0  # a broker that is away is asked for longer
AWAY_SECONDS = 15.0  # more than a sweep's look at a broker that does not answer takes
FEWEST_MESSAGES = 2  # of a queue without a live worker: one that starts finds work at once


@dataclass(frozen=True)
class Message:
    """What is to be sent: where, what for, and the item's id."""

    queue: str
    kind: str
    item_id: str


class Publisher:
    """Sends messages for the next items; never fails its caller, because the sweep makes up for what was not sent."""

    def __init__(self, database: Database, queue: Queue, settings: Settings) -> None:
        self._database = database
        self._queue = queue
        self._work = settings.work
        self._nudged = threading.Event()
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def publish(self) -> int:
        """Top up every queue; how many messages were sent."""
        try:
            with self._database.writing() as session:
                messages = self._picked(session)
                was_away = noted_fault(session) is not None
            unsent, fault = self._send(messages)
            if fault is not None or (was_away and messages):
                with self._database.writing() as session:
                    _unpublish(session, unsent)
                    self._note(session, fault)
        except DatabaseFault as error:
            logger.warning("publishing: %s", error.detail)
            return 0
        return len(messages) - len(unsent)

    def look_for_broker(self) -> None:
        """Note whether the broker answers: what was published before it went away tells nothing."""
        fault = None
        try:
            self._queue.check()
        except BrokerFault as error:
            fault = error
        with self._database.reading() as session:
            was_away = noted_fault(session) is not None
        if fault is not None or was_away:
            with self._database.writing() as session:
                self._note(session, fault)

    def nudge(self) -> None:
        """Publish soon, on a thread of the publisher's own; returns at once."""
        with self._starting:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
                self._thread.start()
        self._wanted.set()
        self._nudged.set()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """End the thread, after what it was told to publish; it is left to itself if that takes longer."""
        self._closing.set()
        self._nudged.set()
        with self._starting:
            if self._thread is not None:
                self._thread.join(seconds)

    def _run(self) -> None:
        while not self._closing.is_set() or self._wanted.is_set():
            self._nudged.wait()
            self._nudged.clear()
            if not self._wanted.is_set():
                continue
            self._wanted.clear()
            try:
                self.publish()
            except Exception:
                # A defect must not end the thread: whoever nudges after it would wait for the sweep for ever.
                logger.exception("publishing")

    def _picked(self, session: Session) -> list[Message]:
        """The next items of all queues, marked as published."""
        messages = []
        for queue in waiting_queues(session):
            if places := self._places(session, queue):
                messages += _mark(session, next_items(session, queue, places))
        return messages

    def _places(self, session: Session, queue: str) -> int:
        """How many messages the broker lacks in this queue."""
        workers = live_workers(session, seen_seconds=self._work.worker_seen_seconds)
        slots = sum(worker.slots for worker in workers if queue in worker.queues)
        there = session.execute(select(func.count()).where(WorkItemRow.queue == queue, BUSY, PUBLISHED)).scalar_one()
        return max(max(FEWEST_MESSAGES, self._work.messages_per_slot * slots) - there, 0)

    def _send(self, messages: list[Message]) -> tuple[list[str], BrokerFault | None]:
        """The ids of the items whose messages the broker did not take, and why."""
        for number, message in enumerate(messages):
            try:
                self._queue.send(message.queue, message.kind, message.item_id)
            except BrokerFault as fault:
                logger.warning("publishing: %s", fault.detail)
                return [unsent.item_id for unsent in messages[number:]], fault
        return [], None

    def _note(self, session: Session, fault: BrokerFault | None) -> None:
        if fault is not None:
            # Until after the next sweep, which looks again.
            note_fault(session, fault, seconds=self._work.sweep_seconds + AWAY_SECONDS)
        else:
            forget_fault(session)


def _mark(session: Session, item_ids: list[str]) -> list[Message]:
    """Mark the items, which this transaction has locked, as published."""
    marked = session.execute(
        update(WorkItemRow)
        .where(WorkItemRow.id.in_(item_ids))
        .values(published_at=database_time(), published_times=WorkItemRow.published_times + 1)
        .returning(WorkItemRow.id, WorkItemRow.queue, WorkItemRow.kind)
        .execution_options(synchronize_session=False)
    )
    by_id = {item_id: Message(queue, kind, item_id) for item_id, queue, kind in marked}
    return [by_id[item_id] for item_id in item_ids]


def _unpublish(session: Session, item_ids: list[str]) -> None:
    # Never waits for a row: a cancel takes the same ones in another order.
    free = select(WorkItemRow.id).where(WorkItemRow.id.in_(item_ids), PUBLISHED).with_for_update(skip_locked=True)
    session.execute(
        update(WorkItemRow)
        .where(WorkItemRow.id.in_(session.execute(free).scalars().all()))
        .values(published_at=None, published_times=WorkItemRow.published_times - 1)
        .execution_options(synchronize_session=False)
    )
