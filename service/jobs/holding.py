"""Holding jobs: no more of a tenant's are begun at a time than may be; the others begin by themselves, in their order.

A held job has its plan, but no work items yet: it is queued, and its `state_reason` names the limit.
"""

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from service.jobs.shards import add_items, begin_finalizing
from service.jobs.states import lock, move
from service.jobs.tables import JobRow
from service.limits import begun_jobs, limits_of, lock_tenant
from service.settings import Settings

HELD = "running_jobs"


def begin_or_hold(session: Session, job: JobRow, settings: Settings) -> None:
    """Begin the locked job, or hold it where as many of its tenant's are begun as may be."""
    limit = limits_of(session, job.tenant_id, settings).running_jobs
    if limit is None:
        go_on(session, job)
        return
    # Held first and then chosen with the others: it must not pass those that are held.
    job.state_reason = f"{HELD}: at most {limit:,} jobs of this tenant run at a time; it begins when another has ended"
    begin_held(session, job.tenant_id, settings)


def begin_held(session: Session, tenant_id: str, settings: Settings) -> None:
    """Begin the tenant's held jobs as far as its limit allows: those of the highest priority, then the oldest."""
    if (limit := limits_of(session, tenant_id, settings).running_jobs) is None:
        return
    session.flush()
    lock_tenant(session, tenant_id)
    free = limit - begun_jobs(session, tenant_id)
    if free > 0:
        _begin(session, _held().where(JobRow.tenant_id == tenant_id).limit(free))


def begin_all_held(session: Session, settings: Settings) -> None:
    """Begin the held jobs of all tenants as far as the limits allow: a crash, or other settings, left them behind."""
    tenants = session.execute(_held().with_only_columns(JobRow.tenant_id).distinct().order_by(None)).scalars()
    for tenant_id in sorted(tenants):
        if limits_of(session, tenant_id, settings).running_jobs is None:
            _begin(session, _held().where(JobRow.tenant_id == tenant_id))
        begin_held(session, tenant_id, settings)


def go_on(session: Session, job: JobRow) -> None:
    """Add the work items of what is missing of the locked job."""
    if job.shards_done == job.shards_total:
        if job.state == "queued":
            move(session, job, "running")
        move(session, job, "finalizing")
        begin_finalizing(session, job)
    else:
        job.next_shard, job.open_shards = 0, 0
        add_items(session, job)


def _begin(session: Session, held: Select[str]) -> None:
    # One that somebody holds is passed over: whoever waits for a job while holding its tenant may wait for ever.
    for job_id in session.execute(held.with_for_update(key_share=True, skip_locked=True)).scalars().all():
        job = lock(session, job_id)
        job.state_reason = None
        go_on(session, job)


def _held() -> Select[str]:
    held = select(JobRow.id).where(JobRow.state == "queued", JobRow.state_reason.startswith(HELD, autoescape=True))
    return held.order_by(JobRow.priority.desc(), JobRow.id)
