"""Which pending items of a queue go next: the order is the database's, the broker holds only a few.

Every place goes to the tenant with the fewest items leased or published, of several to the one that was served longest
ago; there to the highest priority; there to the subject (a job, a fit, ...) with the fewest, then the lowest index,
then the oldest. Nothing here looks at all that waits: an index is in this order, and what is at work is little.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TypeVar

from sqlalchemy import ColumnElement, Row, Select, func, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.database import database_time
from service.work.tables import BUSY, LIVE, WAITING, Kind, WorkItemRow

T = TypeVar("T", str, int)

SERVED_LATELY = 500  # items whose ends tell which tenants were served


@dataclass(frozen=True, order=True)
class Place:
    """A waiting item in the order of its tenant's items of one priority: the least goes first."""

    busy: int  # items of its subject that are leased or published
    index: int
    created_at: datetime
    item_id: str = field(compare=False)
    subject: tuple[Kind, str] = field(compare=False)


def next_items(session: Session, queue: str, places: int) -> list[str]:
    """The ids of at most `places` due, unpublished items of `queue`, the fairest first, locked."""
    busy = _busy(session)
    tenants = _waiting(session, WorkItemRow.tenant_id, WorkItemRow.queue == queue)
    served = _served(session) if len(tenants) > 1 else {}
    lines = {tenant_id: Line(session, queue, tenant_id, busy.pop(tenant_id, Counter())) for tenant_id in tenants}
    chosen: list[str] = []
    while lines and len(chosen) < places:
        tenant_id = min(lines, key=lambda each: (lines[each].at_work, served.get(each, -1)))
        if (place := lines[tenant_id].next()) is not None:
            chosen.append(place.item_id)
        else:
            del lines[tenant_id]
    return _locked(session, chosen)


def waiting_queues(session: Session) -> list[str]:
    """The queues in which something waits to be published."""
    return _waiting(session, WorkItemRow.queue)


class Line:
    """The waiting items of one tenant in one queue, in order; what `next` has given counts as published."""

    def __init__(self, session: Session, queue: str, tenant_id: str, subjects: Counter[tuple[Kind, str]]) -> None:
        self._session = session
        self._mine = (WorkItemRow.queue == queue, WorkItemRow.tenant_id == tenant_id)
        self._subjects = subjects
        self._given: set[str] = set()
        self._idle = True  # whether a subject that has nothing at work may have something waiting
        self.at_work = subjects.total()

    @cached_property
    def _priorities(self) -> list[int]:
        return _waiting(self._session, WorkItemRow.priority, *self._mine)

    def next(self) -> Place | None:
        """The item that goes next."""
        while self._priorities:
            if (place := self._first_of_idle() or self._first_of_busy()) is not None:
                self._given.add(place.item_id)
                self._subjects[place.subject] += 1
                self.at_work += 1
                return place
            self._priorities.pop()
            self._idle = True
        return None

    def _first_of_idle(self) -> Place | None:
        """The first item of all subjects that have nothing at work: they go before those that have."""
        if not self._idle:
            return None
        due = self._due()
        if self._subjects:
            due = due.where(tuple_(WorkItemRow.kind, WorkItemRow.subject_id).not_in(list(self._subjects)))
        row = self._session.execute(due.limit(1)).one_or_none()
        self._idle = row is not None
        return self._place(row) if row is not None else None

    def _first_of_busy(self) -> Place | None:
        places = [self._first_of(kind, subject_id) for kind, subject_id in self._subjects]
        return min(filter(None, places), default=None)

    def _first_of(self, kind: Kind, subject_id: str) -> Place | None:
        # LIVE, which follows from the rest, is said because it is the condition of the index that is meant.
        statement = self._due().where(LIVE, WorkItemRow.kind == kind, WorkItemRow.subject_id == subject_id)
        row = self._session.execute(statement.where(WorkItemRow.id.not_in(self._given)).limit(1)).one_or_none()
        return self._place(row) if row is not None else None

    def _due(self) -> Select[str, Kind, str, int | None, datetime]:
        columns = (WorkItemRow.id, WorkItemRow.kind, WorkItemRow.subject_id, WorkItemRow.index, WorkItemRow.created_at)
        return (
            select(*columns)
            .where(*self._mine, WorkItemRow.priority == self._priorities[-1], WAITING)
            .where(WorkItemRow.not_before <= database_time())
            .order_by(WorkItemRow.index, WorkItemRow.created_at)
        )

    def _place(self, row: Row[str, Kind, str, int | None, datetime]) -> Place:
        item_id, kind, subject_id, index, created_at = row
        return Place(self._subjects[kind, subject_id], index or 0, created_at, item_id, (kind, subject_id))


def _locked(session: Session, item_ids: list[str]) -> list[str]:
    """Of these, the ones that nobody else has taken, nor holds: they are this transaction's now.

    Waiting for the locks of others, a publisher could meet a cancel that takes the same rows in another order.
    """
    # No condition but the ids: with others Postgres may read the whole index of what waits instead.
    rows = select(WorkItemRow.id, WorkItemRow.state, WorkItemRow.published_at).where(WorkItemRow.id.in_(item_ids))
    free = {
        item_id
        for item_id, state, published_at in session.execute(rows.with_for_update(skip_locked=True))
        if state == "pending" and published_at is None
    }
    return [item_id for item_id in item_ids if item_id in free]


def _busy(session: Session) -> dict[str, Counter[tuple[Kind, str]]]:
    """Items leased or published, by tenant and subject, over all queues."""
    columns = (WorkItemRow.tenant_id, WorkItemRow.kind, WorkItemRow.subject_id)
    busy: dict[str, Counter[tuple[Kind, str]]] = {}
    for tenant_id, kind, subject_id, items in session.execute(
        select(*columns, func.count()).where(BUSY).group_by(*columns)
    ):
        busy.setdefault(tenant_id, Counter())[kind, subject_id] += items
    return busy


def _served(session: Session) -> dict[str, int]:
    """Tenants whose items ended lately; the number of the one that was served last is the highest."""
    lately = (
        select(WorkItemRow.tenant_id)
        .where(WorkItemRow.finished_at.is_not(None))
        .order_by(WorkItemRow.finished_at.desc())
        .limit(SERVED_LATELY)
    )
    tenants = list(session.execute(lately).scalars())
    return {tenant_id: number for number, tenant_id in enumerate(reversed(tenants))}


def _waiting(session: Session, column: InstrumentedAttribute[T], *where: ColumnElement[bool]) -> list[T]:
    """The values of `column` among the waiting items, in order: from each one to the next, past all that are equal."""
    least = select(func.min(column).label("value")).where(WAITING, *where).cte("least", recursive=True)
    after = select(func.min(column)).where(WAITING, *where, column > least.c.value).scalar_subquery()
    values = least.union_all(select(after).where(least.c.value.is_not(None)))
    return list(session.execute(select(values.c.value).where(values.c.value.is_not(None))).scalars())
