"""Work items: adding them, and stopping those of a job."""

from dataclasses import dataclass

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from service.database import database_now, database_time, new_id
from service.work.tables import Kind, WorkItemRow

DEFAULT_PRIORITY = 5


@dataclass(frozen=True)
class NewItem:
    """What a work item is for."""

    tenant_id: str
    kind: Kind
    queue: str
    subject_id: str
    index: int | None = None
    job_id: str | None = None
    priority: int = DEFAULT_PRIORITY


def add(
    session: Session,
    *,
    tenant_id: str,
    kind: Kind,
    queue: str,
    subject_id: str,
    index: int | None = None,
    job_id: str | None = None,
    priority: int = DEFAULT_PRIORITY,
) -> WorkItemRow:
    """A new pending item; a live one of the same kind, subject and index must not exist."""
    item = NewItem(tenant_id, kind, queue, subject_id, index, job_id, priority)
    (item_id,) = add_many(session, [item])
    return session.get_one(WorkItemRow, item_id)


def add_many(session: Session, items: list[NewItem]) -> list[str]:
    """New pending items, in one statement: the shards of a job."""
    if not items:
        return []
    now, fences = database_now(session), _fences(session, items)
    rows = [
        {
            **vars(item),
            "id": new_id("wrk"),
            "state": "pending",
            "fence": fences.get((item.kind, item.subject_id, item.index), 0),
            "attempts": 0,
            "lost": 0,
            "out_of_memory": 0,
            "not_before": now,
            "published_times": 0,
            "stop_requested": False,
            "waits": 0,
            "request_id": session.info.get("request_id"),
            "created_at": now,
        }
        for item in items
    ]
    session.execute(insert(WorkItemRow), rows)
    return [row["id"] for row in rows]


def _fences(session: Session, items: list[NewItem]) -> dict[tuple[str, str, int | None], int]:
    """The highest fence so far of the same kind, subject and index.

    A retried job has new items for its shards; were their fences to start again, an attempt at an old item could
    share its storage key with one at the new item, and take the committed file away as its own.
    """
    highest: dict[tuple[str, str, int | None], int] = {}
    for kind, subject_id in sorted({(item.kind, item.subject_id) for item in items}):
        statement = (
            select(WorkItemRow.index, func.max(WorkItemRow.fence))
            .where(WorkItemRow.subject_id == subject_id, WorkItemRow.kind == kind)
            .group_by(WorkItemRow.index)
        )
        highest |= {(kind, subject_id, index): fence for index, fence in session.execute(statement)}
    return highest


def cancel_pending(session: Session, *, job_id: str) -> int:
    """Cancel the job's items that nobody holds; how many there were.

    Call it before `request_stop`: an item that is claimed in between is then seen there. Call both under the lock
    of the job's row, so that nobody adds items meanwhile.
    """
    changed = session.execute(
        update(WorkItemRow)
        .where(WorkItemRow.job_id == job_id, WorkItemRow.state == "pending")
        .values(state="cancelled", finished_at=database_time(), published_at=None)
        .returning(WorkItemRow.id)
    )
    return len(changed.all())


def request_stop(session: Session, *, job_id: str) -> int:
    """Ask the holders of the job's items to stop; how many items are held."""
    changed = session.execute(
        update(WorkItemRow)
        .where(WorkItemRow.job_id == job_id, WorkItemRow.state == "leased")
        .values(stop_requested=True)
        .returning(WorkItemRow.id)
    )
    return len(changed.all())


def live_items(session: Session, *, job_id: str) -> int:
    """How many of the job's items are pending or held."""
    statement = select(func.count()).where(WorkItemRow.job_id == job_id, WorkItemRow.state.in_(("pending", "leased")))
    return session.execute(statement).scalar_one()


def cancel_subject(session: Session, *, subject_id: str) -> int:
    """Cancel every live item of a resource that is deleted; a holder then finds its fence gone."""
    changed = session.execute(
        update(WorkItemRow)
        .where(WorkItemRow.subject_id == subject_id, WorkItemRow.state.in_(("pending", "leased")))
        .values(
            state="cancelled",
            fence=WorkItemRow.fence + 1,
            finished_at=database_time(),
            published_at=None,
            stop_requested=True,
        )
        .returning(WorkItemRow.id)
    )
    return len(changed.all())
