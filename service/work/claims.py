"""Claiming a work item, and giving it up: every change by its holder is fenced."""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import and_, case, or_, update
from sqlalchemy.orm import Session

from latentmill.errors import Problem
from service.database import database_time
from service.work.tables import LEASED, Kind, WorkItemRow

MOST_DOUBLINGS = 20  # of a wait; far beyond any bound that it has


class FenceLost(Exception):
    """Someone else holds this work item now, or it is over: whatever was made for it must not be published."""


class Stopped(Exception):
    """The holder of a work item was asked to stop."""


@dataclass(frozen=True)
class Claim:
    """A work item in the hands of one worker, and the fence that proves it."""

    item_id: str
    tenant_id: str
    kind: Kind
    queue: str
    subject_id: str
    index: int | None
    job_id: str | None
    fence: int
    attempts: int
    lost: int = 0
    out_of_memory: int = 0
    request_id: str | None = None
    waits: int = 0

    def wait_seconds(self, longest_seconds: float) -> float:
        """How long to wait out a fault of the surroundings: 1 s after the first, twice as long after each in a row."""
        return min(2.0 ** min(self.waits, MOST_DOUBLINGS), longest_seconds)


def claim(session: Session, item_id: str, *, owner: str, lease_seconds: float, again: bool = False) -> Claim | None:
    """The item, leased to `owner`; None when it is held, over, unknown or not due yet.

    `again` also takes one that this owner holds already.
    """
    mine = and_(WorkItemRow.state == "leased", WorkItemRow.owner == owner)
    row = session.execute(
        update(WorkItemRow)
        .where(
            WorkItemRow.id == item_id,
            or_(WorkItemRow.state == "pending", mine) if again else WorkItemRow.state == "pending",
            WorkItemRow.not_before <= database_time(),
        )
        .values(
            state="leased",
            owner=owner,
            fence=WorkItemRow.fence + 1,
            lease_until=database_time(lease_seconds),
            attempts=WorkItemRow.attempts + 1,
            published_at=None,
            published_times=0,
            stop_requested=False,
            waiting=None,
        )
        .returning(
            WorkItemRow.id,
            WorkItemRow.tenant_id,
            WorkItemRow.kind,
            WorkItemRow.queue,
            WorkItemRow.subject_id,
            WorkItemRow.index,
            WorkItemRow.job_id,
            WorkItemRow.fence,
            WorkItemRow.attempts,
            WorkItemRow.lost,
            WorkItemRow.out_of_memory,
            WorkItemRow.request_id,
            WorkItemRow.waits,
        )
    ).one_or_none()
    return Claim(*row) if row is not None else None


def finish(session: Session, claim: Claim) -> None:
    """The item is done. Raises FenceLost, which must undo the transaction, when another attempt owns it now."""
    _change(session, claim, state="done", finished_at=database_time())


def fail(session: Session, claim: Claim) -> None:
    """The item is over and will not be tried again; the state of its subject is the caller's."""
    _change(session, claim, state="failed", finished_at=database_time())


def cancel(session: Session, claim: Claim) -> None:
    """The item ends because its holder was asked to stop."""
    _change(session, claim, state="cancelled", finished_at=database_time())


def hand_back(
    session: Session,
    claim: Claim,
    *,
    waiting: Problem | None = None,
    delay_seconds: float = 0,
    counts: Literal["nothing", "waits", "lost", "out_of_memory"] = "nothing",
) -> None:
    """The item waits again, for `delay_seconds` at least, and says what for; or is cancelled if that was asked."""
    counted: dict[str, Any] = {"waits": 0}  # waits count in a row
    if counts != "nothing":
        counted[counts] = getattr(WorkItemRow, counts) + 1
    # A stop that was asked for meanwhile must not be forgotten: nobody would ask a second time.
    stopped = WorkItemRow.stop_requested
    _change(
        session,
        claim,
        state=case((stopped, "cancelled"), else_="pending"),
        finished_at=case((stopped, database_time()), else_=None),
        not_before=database_time(delay_seconds),
        published_at=None,
        owner=None,
        waiting=waiting.model_dump(mode="json") if waiting is not None else None,
        **counted,
    )


def end_leases(session: Session, *, owner: str) -> int:
    """The leases of a holder that is known to be dead run out now, for the sweep to judge as any other; how many."""
    ended = session.execute(
        update(WorkItemRow)
        .where(LEASED, WorkItemRow.owner == owner, WorkItemRow.lease_until > database_time())
        .values(lease_until=database_time())
        .returning(WorkItemRow.id)
        .execution_options(synchronize_session=False)
    )
    return len(ended.all())


def _change(session: Session, claim: Claim, **values: Any) -> None:
    # Its owner stays in an item that is over: who did it.
    changed = session.execute(
        update(WorkItemRow)
        .where(WorkItemRow.id == claim.item_id, WorkItemRow.fence == claim.fence, WorkItemRow.state == "leased")
        .values(lease_until=None, **values)
        .returning(WorkItemRow.id)
        .execution_options(synchronize_session=False)
    )
    if changed.one_or_none() is None:
        raise FenceLost(f"{claim.kind} {claim.item_id}: fence {claim.fence} is not the newest")
