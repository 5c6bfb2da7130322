"""The states of a job: which moves are allowed, and the lock under which every one of them is made."""

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import update
from sqlalchemy.orm import Session

from latentmill.errors import Problem
from service import work
from service.database import database_now
from service.jobs.tables import EventRow, JobRow
from service.resources import stored
from service.work import needs

JobState = Literal["queued", "running", "finalizing", "succeeded", "cancelling", "cancelled", "failed"]

MOVES: dict[JobState, frozenset[JobState]] = {
    "queued": frozenset({"running", "cancelling", "failed"}),
    "running": frozenset({"finalizing", "cancelling", "failed"}),
    "finalizing": frozenset({"succeeded", "failed"}),
    "cancelling": frozenset({"cancelled"}),
    "succeeded": frozenset(),
    "failed": frozenset({"queued"}),
    "cancelled": frozenset({"queued"}),
}
TERMINAL = frozenset({"succeeded", "failed", "cancelled"})
LEFT_ALONE = TERMINAL | {"finalizing"}  # by a cancel
RETRYABLE = frozenset({"failed", "cancelled"})


def lock(session: Session, job_id: str) -> JobRow:
    """The job, which nobody else can change, nor a shard of it, before this transaction ends."""
    # An UPDATE locks on both databases, and the revision that it raises is what ETag shows.
    session.execute(
        update(JobRow)
        .where(JobRow.id == job_id)
        .values(revision=JobRow.revision + 1)
        .execution_options(synchronize_session=False)
    )
    return session.get_one(JobRow, job_id, populate_existing=True)


def move(session: Session, job: JobRow, state: JobState, *, error: Problem | None = None) -> None:
    """Move the locked job to `state`, and say so in an event."""
    if state not in MOVES[job.state]:  # type: ignore[index]
        raise ValueError(f"{job.id} cannot go from {job.state} to {state}")
    now = database_now(session)
    job.state = state
    job.error = stored(error) if error is not None else None
    if state == "running":
        job.started_at = now
    if state == "cancelled":
        job.cancelled_at = now
    if state == "queued":
        job.queued_at, job.started_at, job.finished_at, job.cancelled_at = now, None, None, None
    else:
        job.state_reason = None
    if state in TERMINAL:
        job.finished_at = now
        needs.end(session, ("job", job.id))
    add_event(session, job, "state", {"state": state, "error": job.error}, now)


def finish_cancelling(session: Session, job: JobRow) -> None:
    """The locked job is cancelled once nobody works for it any more."""
    if job.state == "cancelling" and work.live_items(session, job_id=job.id) == 0:
        move(session, job, "cancelled")


def add_event(session: Session, job: JobRow, kind: str, data: dict[str, Any], now: datetime | None = None) -> None:
    """The next event of the locked job: under the lock its numbers have no gaps."""
    job.event_number += 1
    event = EventRow(job_id=job.id, tenant_id=job.tenant_id, number=job.event_number, kind=kind, data=data)
    event.created_at = now or database_now(session)
    session.add(event)
