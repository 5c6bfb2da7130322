"""The verbs of jobs: the only code, with `shards.py` and `finalizing.py`, that changes their rows."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import delete as delete_rows
from sqlalchemy import select
from sqlalchemy.orm import Session

from latentmill.errors import NotRetryable, Problem
from latentmill.specs import MAX_SEED, Interpolate, JobRequest, Posterior
from service import work
from service.database import database_now, new_id
from service.datasets.tables import DatasetRow
from service.fits import encodings
from service.fits.tables import EncodingRow, FitRow
from service.jobs import holding
from service.jobs.planning import Plan, live_devices, plan_of
from service.jobs.resolution import Resolved, check, resolve
from service.jobs.shards import begin_finalizing
from service.jobs.states import LEFT_ALONE, RETRYABLE, TERMINAL, add_event, finish_cancelling, lock, move
from service.jobs.tables import EventRow, JobRow, ShardRow
from service.limits import check_queue, check_room, limits_of
from service.models.tables import ModelRow
from service.resources import (
    ResourceColumns,
    check_name,
    find,
    insert,
    jobs_wait_out,
    name_taken,
    undeleted,
    with_cause,
)
from service.settings import Settings
from service.work import needs

NO_WORKER = "no_worker_for_device"


def submit(
    session: Session, tenant_id: str, request: JobRequest, settings: Settings, expires_at: datetime | None = None
) -> JobRow:
    """A new job: begun, or waiting for what it needs."""
    check_name(session, JobRow, tenant_id, request.name)
    resolved = _resolved(session, tenant_id, request, settings)
    seed = request.seed if request.seed is not None else secrets.randbelow(MAX_SEED + 1)
    resolved = replace(resolved, request=resolved.request.model_copy(update={"seed": seed}))
    the_plan = plan_of(session, resolved, settings)
    now = database_now(session)
    job = JobRow(
        id=new_id("job"), tenant_id=tenant_id, name=request.name, state="queued", warnings=[],
        metadata_=dict(request.metadata), created_at=now, queued_at=now, seed=seed, priority=request.priority,
        model_id=resolved.model.id, fit_id=resolved.fit.id if resolved.fit else None,
        encoding_id=resolved.encoding.id if resolved.encoding else None,
        report_id=resolved.report.id if resolved.report else None,
        request=the_plan.request.canonical(), rows_total=request.rows, revision=0, rows_done=0, rows_before=0,
        shards_done=0, bytes_done=0, next_shard=0, open_shards=0, event_number=0, executions=[], files={},
        expires_at=expires_at,
    )  # fmt: skip
    if not insert(session, job):
        raise name_taken(request.name)
    job = lock(session, job.id)
    with session.no_autoflush:  # what follows reads other rows: the job's changes are written once, at the end
        add_event(session, job, "state", {"state": "queued", "error": None}, now)
        _wait_or_begin(session, job, resolved, the_plan, settings)
    check_queue(session, tenant_id, settings)
    return job


def start(session: Session, job_id: str, settings: Settings) -> None:
    """All that the job needs is ready: begin. Raises what is wrong with the request, now that it can be seen."""
    job = lock(session, job_id)
    if job.state != "queued" or job.deleted_at is not None:
        return
    resolved = _resolved_again(session, job)
    check(resolved)
    _begin(session, job, plan_of(session, resolved, settings), settings)


def cancel(session: Session, tenant_id: str, reference: str) -> JobRow:
    """Stop the job; committed shards stay. A job that is finalizing or over is left as it is."""
    job = find(session, JobRow, tenant_id, reference)
    if job.state in LEFT_ALONE:
        return job  # without the lock, which would show as a change
    job = lock(session, job.id)
    if job.state in {"queued", "running"}:
        move(session, job, "cancelling")
        work.cancel_pending(session, job_id=job.id)
        work.request_stop(session, job_id=job.id)
        finish_cancelling(session, job)
    return job


def retry(session: Session, tenant_id: str, reference: str, settings: Settings) -> JobRow:
    """Make the missing shards of a failed or cancelled job."""
    job = undeleted(lock(session, find(session, JobRow, tenant_id, reference).id))
    if job.state not in RETRYABLE:
        raise NotRetryable(f"{job.id} is {job.state}; only a failed or cancelled job can be retried.")
    request = JobRequest.model_validate(job.request)
    resolved = _resolved(session, tenant_id, request, settings)
    # A worker that has not yet seen that it should stop must not meet the new item of its shard.
    work.cancel_subject(session, subject_id=job.id)
    job.next_shard, job.open_shards, job.rows_before, job.progress_at = 0, 0, job.rows_done, None
    if resolved.encoding is not None:
        job.encoding_id = resolved.encoding.id
    move(session, job, "queued")
    _wait_or_begin(session, job, resolved, plan_of(session, resolved, settings), settings)
    check_queue(session, tenant_id, settings)
    return job


def delete(session: Session, tenant_id: str, reference: str) -> JobRow:
    """Delete the job, cancelling it first; its folder in storage goes once this is committed."""
    job = undeleted(lock(session, find(session, JobRow, tenant_id, reference).id))
    # Holders find their fence gone: what they make now is never published, and they delete it themselves.
    work.cancel_subject(session, subject_id=job.id)
    if job.state in {"queued", "running"}:
        move(session, job, "cancelling")
    if job.state == "cancelling":
        move(session, job, "cancelled")
    needs.forget(session, ("job", job.id))
    job.deleted_at, job.files = database_now(session), {}
    session.flush()
    session.execute(delete_rows(ShardRow).where(ShardRow.job_id == job.id))
    session.execute(delete_rows(EventRow).where(EventRow.job_id == job.id))
    return job


def folder_of(job: JobRow) -> str:
    """The folder of the job's files in storage."""
    return f"{job.tenant_id}/jobs/{job.id}"


def mark_failed(session: Session, job_id: str, problem: Problem) -> bool:
    """The job failed; False when it was over, or on its way there."""
    job = lock(session, job_id)
    if job.state not in {"queued", "running", "finalizing"} or job.deleted_at is not None:
        finish_cancelling(session, job)
        return False
    work.cancel_subject(session, subject_id=job.id)
    move(session, job, "failed", error=problem)
    return True


def state_reasons(session: Session, jobs: Sequence[JobRow], settings: Settings) -> dict[str, str]:
    """Why jobs do not go on at present, by their ids; those that do are left out. Many cost what one does."""
    live = [job for job in jobs if job.state not in TERMINAL and job.state != "cancelling"]
    reasons = {
        job.id: with_cause(session, ("job", job.id), job.state_reason) for job in live if job.state_reason is not None
    }
    begun = [job for job in live if job.state_reason is None]
    devices = live_devices(session, settings) if begun else {}
    reasons |= {
        job.id: NO_WORKER
        for job in begun
        if job.state != "finalizing" and job.execution and job.execution["device"] not in devices
    }
    return reasons | jobs_wait_out(session, [job.id for job in begun if job.id not in reasons])


def resume(session: Session) -> None:
    """Move the jobs on that a crash left between two states."""
    unfinished = JobRow.state.in_(("running", "finalizing", "cancelling"))
    live = select(JobRow.id).where(unfinished, JobRow.deleted_at.is_(None)).order_by(JobRow.id)
    for job_id in session.execute(live).scalars().all():
        if work.live_items(session, job_id=job_id):
            continue
        job = lock(session, job_id)
        if work.live_items(session, job_id=job_id):
            continue
        if job.state == "running":
            holding.go_on(session, job)
        elif job.state == "finalizing":
            begin_finalizing(session, job)
        finish_cancelling(session, job)


def _wait_or_begin(session: Session, job: JobRow, resolved: Resolved, the_plan: Plan, settings: Settings) -> None:
    me: needs.Named = ("job", job.id)
    named: tuple[tuple[needs.ResourceKind, ResourceColumns | EncodingRow | None], ...] = (
        ("model", resolved.model), ("fit", resolved.fit), ("dataset", resolved.dataset), ("encoding", resolved.encoding)
    )  # fmt: skip
    for kind, row in named:
        if row is not None:
            needs.need(session, me, (kind, row.id), settled=row.state == "ready")
    if waiting := needs.waiting_on(session, me):
        job.state_reason = f"waiting for {', '.join(needed.id for needed in waiting)}"
    else:
        _begin(session, job, the_plan, settings)


def _begin(session: Session, job: JobRow, the_plan: Plan, settings: Settings) -> None:
    """Fix the plan, once for all runs of the job, and add the first work items."""
    job.state_reason = None
    if job.execution is None:
        if the_plan.execution is None or the_plan.shard_rows is None or the_plan.shards_total is None:
            raise ValueError(f"{job.id} cannot begin: its model is not ready")
        job.request = the_plan.request.canonical()
        job.execution, job.rows_per_s = the_plan.execution.canonical(), the_plan.rows_per_s
        job.shard_rows, job.shards_total = the_plan.shard_rows, the_plan.shards_total
        job.label_counts, job.planned_bytes = the_plan.label_counts, the_plan.estimated_bytes
    check_room(session, job.tenant_id, settings)
    holding.begin_or_hold(session, job, settings)


def _resolved(session: Session, tenant_id: str, request: JobRequest, settings: Settings) -> Resolved:
    """What the request names, locked, and an encoding where it needs one."""
    resolved = resolve(session, tenant_id, request, limits_of(session, tenant_id, settings), lock=True)
    if resolved.dataset is None:
        return resolved
    return replace(resolved, encoding=encodings.ensure(session, resolved.model, resolved.dataset))


def _resolved_again(session: Session, job: JobRow) -> Resolved:
    request = JobRequest.model_validate(job.request)
    strategy = request.strategy
    dataset = session.get(DatasetRow, strategy.dataset) if isinstance(strategy, Posterior | Interpolate) else None
    return Resolved(
        request,
        session.get_one(ModelRow, job.model_id),
        fit=session.get(FitRow, job.fit_id) if job.fit_id else None,
        dataset=dataset,
        encoding=session.get(EncodingRow, job.encoding_id) if job.encoding_id else None,
    )
