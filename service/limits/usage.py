"""What a tenant has: jobs queued and at work, bytes kept and bytes to come; and the refusals when that is too much.

Every check counts after the fact, in the transaction of what it judges: a refusal undoes it. So it is exact, and it
never refuses what adds nothing, such as the same upload again.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, SQLColumnExpression, and_, case, func, or_, select
from sqlalchemy.orm import Session

from latentmill.errors import LimitExceeded, LimitReached
from service.limits.tenants import limits_of, lock_tenant
from service.settings import Settings
from service.tables import DatasetRow, EncodingRow, FitRow, JobRow, ModelRow, ReportRow

LIVE = ("queued", "running", "finalizing", "cancelling")
QUEUE_RETRY_SECONDS = 5
NEAR = 100  # so far below the limit of queued jobs they are counted without the lock

Kept = type[ModelRow] | type[DatasetRow] | type[EncodingRow] | type[FitRow] | type[ReportRow] | type[JobRow]


@dataclass(frozen=True)
class Usage:
    """What a tenant has at this moment."""

    stored_bytes: int  # of models, datasets, encodings, fits, reports and shards
    planned_bytes: int  # that jobs which are not over will still add
    running_jobs: int  # begun, and not over
    queued_jobs: int


def usage_of(session: Session, tenant_id: str) -> Usage:
    """Count it."""
    stored, planned = _bytes(session, tenant_id)
    return Usage(stored, planned, begun_jobs(session, tenant_id), _queued_jobs(session, tenant_id))


def check_room(session: Session, tenant_id: str, settings: Settings, *, adding: int = 0, lock: bool = True) -> None:
    """Raises LimitExceeded when the tenant keeps more than it may, with all that this transaction adds, and `adding`.

    Without `lock` (a reading transaction) it may miss what others add in this moment.
    """
    limit = limits_of(session, tenant_id, settings).stored_bytes
    if limit is None:
        return
    session.flush()
    if lock:
        lock_tenant(session, tenant_id)
    stored, planned = _bytes(session, tenant_id)
    if (together := stored + planned + adding) > limit:
        raise LimitExceeded(
            f"This would make {together:,} bytes, {planned + adding:,} of them still to come; the limit stored_bytes "
            f"is {limit:,}: delete models, datasets or jobs that are not needed, or ask for less."
        )


def check_queue(session: Session, tenant_id: str, settings: Settings) -> None:
    """Raises LimitReached when more jobs of the tenant are queued than may be, with those of this transaction."""
    limit = limits_of(session, tenant_id, settings).queued_jobs
    if limit is None:
        return
    session.flush()
    if _queued_jobs(session, tenant_id) + NEAR > limit:
        lock_tenant(session, tenant_id)
        if _queued_jobs(session, tenant_id) > limit:
            error = LimitReached(
                f"{limit:,} jobs are queued, as many as the limit queued_jobs allows: wait until some have begun, or "
                "cancel some."
            )
            error.retry_after_seconds = QUEUE_RETRY_SECONDS
            raise error


def begun_jobs(session: Session, tenant_id: str) -> int:
    """How many jobs of the tenant have work items, and are not over."""
    # A queued job that waits for something says for what; one that was deleted while finalizing remains so.
    working = and_(JobRow.state.in_(LIVE[1:]), JobRow.deleted_at.is_(None))
    return _count(session, tenant_id, or_(working, and_(JobRow.state == "queued", JobRow.state_reason.is_(None))))


def _queued_jobs(session: Session, tenant_id: str) -> int:
    return _count(session, tenant_id, JobRow.state == "queued")  # which the index alone can tell


def _count(session: Session, tenant_id: str, which: ColumnElement[bool]) -> int:
    return session.execute(select(func.count()).where(JobRow.tenant_id == tenant_id, which)).scalar_one()


def _bytes(session: Session, tenant_id: str) -> tuple[int, int]:
    """Bytes kept, and bytes that live jobs will still add, in one statement."""

    def total(table: Kept, size: SQLColumnExpression[Any], *where: ColumnElement[bool]) -> ScalarSelect[int]:
        mine = select(func.coalesce(func.sum(size), 0)).where(
            table.tenant_id == tenant_id, table.deleted_at.is_(None), *where
        )
        return mine.scalar_subquery()

    has_file = or_(DatasetRow.key.is_not(None), DatasetRow.rows_key.is_not(None))
    dataset_bytes = func.coalesce(DatasetRow.stored_bytes, case((has_file, DatasetRow.size_bytes), else_=0))
    to_come = JobRow.planned_bytes - JobRow.bytes_done
    stored, planned = session.execute(
        select(
            total(ModelRow, ModelRow.size_bytes, ModelRow.key.is_not(None))
            + total(DatasetRow, dataset_bytes)
            + total(EncodingRow, EncodingRow.stored_bytes, EncodingRow.key.is_not(None))
            + total(FitRow, FitRow.stored_bytes)
            + total(ReportRow, ReportRow.stored_bytes)
            + total(JobRow, JobRow.bytes_done),
            total(JobRow, case((to_come > 0, to_come), else_=0), JobRow.state.in_(LIVE)),
        )
    ).one()
    return int(stored), int(planned)
