"""The sweep: every few seconds, what crashes, lost messages and vanished workers left behind is put right."""

import logging
from typing import Any, Protocol

from sqlalchemy import and_, case, delete, or_, select, update
from sqlalchemy.orm import Session

from latentmill.errors import Abandoned, Problem
from service.database import Database, database_time
from service.settings import Settings, WorkSettings
from service.work import locks, workers
from service.work.claims import FenceLost
from service.work.outages import Outages
from service.work.publisher import Publisher
from service.work.tables import LEASED, PUBLISHED, WorkItemRow

logger = logging.getLogger(__name__)

LOCK = "sweep"
LOCK_SECONDS = 10.0  # should its holder be killed; a second sweep does no harm
AT_A_TIME = 1000
DOUBLINGS = 3  # of the time after which an unclaimed item is published again


class Outcomes(Protocol):
    """What the end of a work item means to the resource that it worked for."""

    def fail(self, session: Session, item: WorkItemRow, problem: Problem) -> None:
        """The item failed for good: so does its subject. Locks the subject's row first."""
        ...

    def resume(self, session: Session) -> None:
        """Move on what a crash left: jobs with every shard but no finalize, cancelling jobs that nobody works on."""
        ...


def sweep(
    database: Database,
    publisher: Publisher,
    outcomes: Outcomes,
    settings: Settings,
    *,
    owner: str,
    outages: Outages | None = None,
) -> bool:
    """One sweep and one publishing, unless another process is at it: False then. Several at once are harmless."""
    with database.writing() as session:
        mine = locks.take(session, LOCK, owner=owner, seconds=LOCK_SECONDS)
    leases_count = outages is None or outages.leases_count()
    if not mine:
        return False
    try:
        if leases_count:
            expire_leases(database, outcomes, settings.work)
        _resume(database, outcomes)
        with database.writing() as session:
            forget_lost_messages(session, settings.work)
            _forget_finished(session, settings.work)
            workers.forget_vanished(session, seen_seconds=20 * settings.work.worker_seen_seconds)
    finally:
        with database.writing() as session:
            locks.release(session, LOCK, owner=owner)
    if publisher.publish() == 0:
        publisher.look_for_broker()
    return True


def expire_leases(database: Database, outcomes: Outcomes, work: WorkSettings) -> int:
    """Take the items whose holders were lost back; how many. Those that were lost too often fail."""
    with database.reading() as session:
        expired = (
            select(WorkItemRow.id)
            .where(LEASED, WorkItemRow.lease_until < database_time())
            .order_by(WorkItemRow.lease_until)
            .limit(AT_A_TIME)
        )
        item_ids = session.execute(expired).scalars().all()
    taken = 0
    for item_id in item_ids:
        try:
            # One transaction each: an outcome locks its job's row, and may be the one that cannot be written.
            with database.writing() as session:
                _expire(session, item_id, outcomes, work)
            taken += 1
        except FenceLost:
            continue  # its holder was only slow, or another sweep was here
        except Exception:
            # A defect in what one item's end means must not keep all others from being taken back.
            logger.exception("sweep: %s could not be taken back", item_id)
    return taken


def forget_lost_messages(session: Session, work: WorkSettings) -> int:
    """Have items published again whose messages nobody claimed: the broker may have lost its memory.

    A busy queue may just as well be slow, so the patience doubles each time, up to a bound.
    """
    overdue = [
        and_(
            WorkItemRow.published_times == times + 1 if times < DOUBLINGS else WorkItemRow.published_times > times,
            WorkItemRow.published_at < database_time(-work.republish_seconds * 2**times),
        )
        for times in range(DOUBLINGS + 1)
    ]
    lost = select(WorkItemRow.id).where(PUBLISHED, or_(*overdue)).limit(AT_A_TIME).with_for_update(skip_locked=True)
    item_ids = session.execute(lost).scalars().all()
    session.execute(
        update(WorkItemRow)
        .where(WorkItemRow.id.in_(item_ids))
        .values(published_at=None)
        .execution_options(synchronize_session=False)
    )
    return len(item_ids)


def _expire(session: Session, item_id: str, outcomes: Outcomes, work: WorkSettings) -> None:
    item = session.get_one(WorkItemRow, item_id)
    fence, lost = item.fence, item.lost + 1
    session.info["request_id"] = item.request_id  # what starts because of its end comes from the same request
    values: dict[str, Any] = {"lost": lost, "owner": None, "lease_until": None, "published_at": None}
    if lost >= work.lost_attempts and not item.stop_requested:
        # First, because it locks the subject's row: items are changed under that lock, everywhere.
        abandoned = Abandoned(f"Workers were lost {lost} times at this {item.kind}.")
        outcomes.fail(session, item, abandoned.problem(item.request_id))
        values |= {"state": "failed", "finished_at": database_time()}
    else:
        stopped = WorkItemRow.stop_requested
        delay = min(work.lost_delay_seconds * 2 ** (lost - 1), work.longest_delay_seconds)
        values |= {
            "state": case((stopped, "cancelled"), else_="pending"),
            "finished_at": case((stopped, database_time()), else_=None),
            "not_before": database_time(delay),
        }
    changed = session.execute(
        update(WorkItemRow)
        .where(
            WorkItemRow.id == item_id,
            WorkItemRow.lease_until < database_time(),
            or_(
                and_(WorkItemRow.fence == fence, WorkItemRow.state == "leased"),
                # The outcome has ended all items of its subject, this one too.
                and_(WorkItemRow.fence == fence + 1, WorkItemRow.state == "cancelled"),
            ),
        )
        .values(values)
        .returning(WorkItemRow.id)
        .execution_options(synchronize_session=False)
    )
    if changed.one_or_none() is None:
        raise FenceLost(item_id)


def _resume(database: Database, outcomes: Outcomes) -> None:
    try:
        with database.writing() as session:
            outcomes.resume(session)
    except Exception:
        # As above: messages must still be published.
        logger.exception("sweep: jobs could not be moved on")


def _forget_finished(session: Session, work: WorkSettings) -> None:
    """Drop items that ended long ago: what came of them stands in their subjects' rows."""
    ended = (
        select(WorkItemRow.id)
        .where(WorkItemRow.finished_at < database_time(-work.keep_finished_seconds))
        .limit(AT_A_TIME)
    )
    session.execute(delete(WorkItemRow).where(WorkItemRow.id.in_(ended)).execution_options(synchronize_session=False))
