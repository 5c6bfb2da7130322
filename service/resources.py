"""What every resource has in the database: owner, unique name, state, error, and a mark when it is deleted."""

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Index, String, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute, Mapped, Session, mapped_column

from latentmill.errors import (
    BrokerFault,
    FieldError,
    Gone,
    InUse,
    InvalidRequest,
    LatentmillError,
    NameTaken,
    NotFound,
    NotReady,
    Problem,
)
from service.database import ROW_LOCK, Base
from service.tenancy import Owned
from service.work import WorkItemRow, needs
from service.work.broker import noted_fault

UNDELETED = text("deleted_at IS NULL")
EXPIRING = text("expires_at IS NOT NULL AND deleted_at IS NULL")
CURSOR = "^[A-Za-z0-9_-]*$"
UNUSABLE = frozenset({"rejected", "failed"})


class ResourceColumns(Owned):
    """The columns of every resource. Its row outlives its deletion, so that its address can answer 410."""

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str | None] = mapped_column(String(128))
    state: Mapped[str] = mapped_column(String(16))
    error: Mapped[dict[str, Any] | None]
    warnings: Mapped[list[str]]
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata")
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]


class ExpiringColumns:
    """What uploads and jobs have besides: when they are deleted by themselves."""

    expires_at: Mapped[datetime | None]

    def keep_until(self, expires_at: datetime | None) -> None:
        """Asked for again, it is kept as long as the longest that was asked for; None is for ever."""
        if self.expires_at is not None:
            self.expires_at = None if expires_at is None else max(self.expires_at, expires_at)


ResourceRow = TypeVar("ResourceRow", bound=ResourceColumns)


def unique_among_undeleted(name: str, *columns: str) -> Index:
    """A unique index over `columns` of the rows that are not deleted."""
    return Index(name, *columns, unique=True, sqlite_where=UNDELETED, postgresql_where=UNDELETED)


def expiring(name: str) -> Index:
    """An index over the rows that will expire."""
    return Index(name, "expires_at", sqlite_where=EXPIRING, postgresql_where=EXPIRING)


def find(
    session: Session, table: type[ResourceRow], tenant_id: str, reference: str, *, lock: bool = False
) -> ResourceRow:
    """The tenant's resource with this id or name. With `lock` it cannot change before the transaction ends."""
    if "\0" in reference:  # which Postgres refuses to compare with
        raise NotFound(f"There is no {table.__name__.removesuffix('Row').lower()} with the id or name {reference!r}.")
    mine = select(table).where(table.tenant_id == tenant_id)
    if lock:
        mine = mine.with_for_update(read=True)
    row = session.execute(mine.where(table.id == reference)).scalar_one_or_none()
    if row is None:
        named = mine.where(table.name == reference, table.deleted_at.is_(None))
        row = session.execute(named).scalar_one_or_none()
    if row is None:
        raise NotFound(f"There is no {table.__name__.removesuffix('Row').lower()} with the id or name {reference!r}.")
    return undeleted(row)


def find_to_delete(session: Session, table: type[ResourceRow], tenant_id: str, reference: str) -> ResourceRow:
    """The tenant's resource with this id or name, which nobody else can change before the transaction ends."""
    row = find(session, table, tenant_id, reference)
    session.refresh(row, with_for_update=ROW_LOCK)
    return undeleted(row)  # the lock may have waited for someone who deleted it


def undeleted(row: ResourceRow) -> ResourceRow:
    """The row; raises Gone where it is deleted."""
    if row.deleted_at is not None:
        raise _gone(row)
    return row


def find_id(session: Session, table: type[ResourceRow], tenant_id: str, reference: str) -> str:
    """The id of the tenant's resource with this id or name, deleted or not: what a list is filtered by."""
    if "\0" not in reference:
        known = select(table.id).where(table.tenant_id == tenant_id, table.id == reference)
        if (found := session.execute(known).scalar_one_or_none()) is not None:
            return found
    return find(session, table, tenant_id, reference).id


def _gone(row: ResourceColumns) -> Gone:
    expires_at = getattr(row, "expires_at", None)
    if expires_at is None or row.deleted_at is None or row.deleted_at < expires_at:
        return Gone(f"{row.id} was deleted.")
    return Gone(f"{row.id} was deleted: it expired at {expires_at:%Y-%m-%d %H:%M:%S} UTC.")


def find_needed(
    session: Session, table: type[ResourceRow], tenant_id: str, reference: str, *, pointer: str, lock: bool
) -> ResourceRow:
    """The resource that a request names at `pointer`: it must be ready, or on its way to it."""
    try:
        row = find(session, table, tenant_id, reference, lock=lock)
    except NotFound as error:
        raise NotFound(error.detail, pointer=pointer) from error
    except Gone as error:
        raise NotReady(error.detail, pointer=pointer) from error
    if row.state in UNUSABLE:
        reason = f": {row.error['detail']}" if row.error else ""
        raise NotReady(f"{row.id} is {row.state}{reason}", pointer=pointer)
    return row


def insert(session: Session, row: Base) -> bool:
    """Insert `row`; False when a unique index refuses it, and then nothing has changed."""
    try:
        with session.begin_nested():
            session.add(row)
            session.flush()
    except IntegrityError:
        return False
    return True


def check_name(session: Session, table: type[ResourceRow], tenant_id: str, name: str | None) -> None:
    """Raises NameTaken when an undeleted resource of this kind has the name."""
    if name is None:
        return
    taken = select(table.id).where(table.tenant_id == tenant_id, table.name == name, table.deleted_at.is_(None))
    if (holder := session.execute(taken).scalar_one_or_none()) is not None:
        raise name_taken(name, holder)


def name_taken(name: str | None, holder: str | None = None) -> LatentmillError:
    """The error for a name that is in use."""
    by = f" {holder} has it;" if holder else ""
    return NameTaken(f"The name {name!r} is taken:{by} choose another or delete that one.", pointer="/name")


def refuse_if_needed(session: Session, needed: needs.Named) -> None:
    """Raises InUse, with the ids, when a live job, fit or report needs the resource that is to be deleted."""
    # An encoding needs its model and its dataset for those who need the encoding, and they are listed themselves.
    users = [dependent.id for dependent in needs.dependents_of(session, needed) if dependent.kind != "encoding"]
    if users:
        raise InUse(
            f"{needed[1]} is needed by {', '.join(users)}.",
            errors=[FieldError(pointer="", message=user) for user in users],
        )


def page(
    session: Session,
    table: type[ResourceRow],
    tenant_id: str,
    *,
    limit: int,
    cursor: str | None,
    where: Sequence[ColumnElement[bool]] = (),
) -> tuple[list[ResourceRow], str | None]:
    """The tenant's undeleted resources, newest first (ids sort by time), and the cursor of the next page."""
    statement = select(table).where(table.tenant_id == tenant_id, table.deleted_at.is_(None), *where)
    if cursor is not None:
        statement = statement.where(table.id < read_cursor(cursor))
    rows = list(session.execute(statement.order_by(table.id.desc()).limit(limit + 1)).scalars())
    return rows[:limit], write_cursor(rows[limit - 1].id) if len(rows) > limit else None


def write_cursor(position: str) -> str:
    """`position` in a form that says: do not take this apart."""
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> str:
    """The position that `write_cursor` was given."""
    try:
        position = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        if not position.isprintable():
            raise ValueError(position)
        return position
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise InvalidRequest(
            "This is no cursor of ours; take `next_cursor` of the page before.", pointer="/cursor"
        ) from error


def stored(problem: Problem) -> dict[str, Any]:
    """A problem as a resource's `error` column holds it."""
    return problem.model_dump(mode="json")


def with_cause(session: Session, resource: needs.Named, reason: str) -> str:
    """`reason`, for which a resource waits for others, and what one of these waits out itself, if anything."""
    cause = _cause(session, resource)
    return f"{reason}; {cause}" if cause is not None else reason


def _cause(session: Session, resource: needs.Named) -> str | None:
    causes = (waits_out(session, each.id) or _cause(session, each) for each in needs.waiting_on(session, resource))
    return next((cause for cause in causes if cause is not None), None)


def waits_out(session: Session, resource_id: str) -> str | None:
    """What a work item of the resource waits out: a full disk, a broker that is away. Of a job: see `jobs_wait_out`."""
    return _waits_out(session, WorkItemRow.subject_id, [resource_id]).get(resource_id)


def jobs_wait_out(session: Session, job_ids: Sequence[str]) -> dict[str, str]:
    """What work items of jobs wait out, by the job; one that waits for nothing is left out."""
    # Not by subject: a job's finished items are many, and the index by job leaves them out.
    return _waits_out(session, WorkItemRow.job_id, job_ids)


def _waits_out(session: Session, owner: InstrumentedAttribute[Any], ids: Sequence[str]) -> dict[str, str]:
    if not ids:
        return {}
    waits = (owner.in_(ids), WorkItemRow.state == "pending", WorkItemRow.waiting.is_not(None))
    firsts = select(func.min(WorkItemRow.id)).where(*waits).group_by(owner)
    waiting = session.execute(select(owner, WorkItemRow.waiting).where(WorkItemRow.id.in_(firsts)))
    found = {owner_id: f"{problem['code']}: {problem['detail']}" for owner_id, problem in waiting if problem}
    others = [owner_id for owner_id in ids if owner_id not in found]
    if others and (fault := noted_fault(session)) is not None:
        at_work = select(owner).where(owner.in_(others), WorkItemRow.state == "leased").distinct()
        held = set(session.execute(at_work).scalars())
        found |= {owner_id: f"{BrokerFault.code}: {fault}" for owner_id in others if owner_id not in held}
    return found
