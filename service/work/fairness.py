"""Which pending items of a queue go next: the order is the database's, the broker holds only a few."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.database import database_time
from service.work.tables import BUSY, WAITING, WorkItemRow


@dataclass
class Group:
    """The due items of one subject (a job, a fit, ...) in one queue, and how many of them were chosen."""

    tenant_id: str
    priority: int
    subject_id: str
    items: int
    lowest_index: int
    oldest: datetime
    chosen: int = 0


def next_items(session: Session, queue: str, places: int) -> list[str]:
    """The ids of at most `places` due, unpublished items of `queue`, the fairest first, locked.

    Each place goes to the tenant with the fewest items leased or published, there to the highest priority, then to
    the subject with the fewest, the lowest index, the oldest.
    """
    groups = _groups(session, queue)
    tenants, subjects = _busy(session)
    order: list[Group] = []
    while groups and len(order) < places:
        group = min(groups, key=lambda group: _rank(group, tenants, subjects))
        order.append(group)
        group.chosen += 1
        tenants[group.tenant_id] += 1
        subjects[group.subject_id] += 1
        if group.chosen == group.items:
            groups.remove(group)
    ids = {(group.subject_id, group.priority): _first_items(session, queue, group) for group in order}
    # Another publisher may hold some of them: a group then has fewer than were chosen.
    return [found.pop(0) for group in order if (found := ids[group.subject_id, group.priority])]


def _rank(group: Group, tenants: Counter[str], subjects: Counter[str]) -> tuple[int, int, int, int, datetime, str]:
    return (
        tenants[group.tenant_id],
        -group.priority,
        subjects[group.subject_id],
        group.lowest_index + group.chosen,
        group.oldest,
        group.subject_id,
    )


def _groups(session: Session, queue: str) -> list[Group]:
    statement = (
        select(
            WorkItemRow.tenant_id,
            WorkItemRow.priority,
            WorkItemRow.subject_id,
            func.count(),
            func.min(WorkItemRow.index),
            func.min(WorkItemRow.created_at),
        )
        .where(WorkItemRow.queue == queue, WAITING, WorkItemRow.not_before <= database_time())
        .group_by(WorkItemRow.tenant_id, WorkItemRow.priority, WorkItemRow.subject_id)
    )
    return [
        Group(tenant_id, priority, subject_id, items, lowest or 0, oldest)
        for tenant_id, priority, subject_id, items, lowest, oldest in session.execute(statement)
    ]


def _busy(session: Session) -> tuple[Counter[str], Counter[str]]:
    """Items leased or published, by tenant and by subject, over all queues."""
    statement = (
        select(WorkItemRow.tenant_id, WorkItemRow.subject_id, func.count())
        .where(BUSY)
        .group_by(WorkItemRow.tenant_id, WorkItemRow.subject_id)
    )
    tenants, subjects = Counter[str](), Counter[str]()
    for tenant_id, subject_id, items in session.execute(statement):
        tenants[tenant_id] += items
        subjects[subject_id] += items
    return tenants, subjects


def _first_items(session: Session, queue: str, group: Group) -> list[str]:
    statement = (
        select(WorkItemRow.id)
        .where(
            WorkItemRow.queue == queue,
            WAITING,
            WorkItemRow.not_before <= database_time(),
            WorkItemRow.tenant_id == group.tenant_id,
            WorkItemRow.priority == group.priority,
            WorkItemRow.subject_id == group.subject_id,
        )
        .order_by(WorkItemRow.index, WorkItemRow.created_at, WorkItemRow.id)
        .limit(group.chosen)
        # A publisher that waits for locks could meet a cancel that takes the same rows in another order.
        .with_for_update(skip_locked=True)
    )
    return list(session.execute(statement).scalars())
