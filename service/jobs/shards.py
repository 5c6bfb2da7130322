"""The shards of a job: handing them out as work items, committing them, and giving up on them."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from latentmill.errors import NotFound, NotReady, Problem
from latentmill.specs import Execution, JobRequest
from latentmill.specs.requests import Format
from service import work
from service.database import database_now
from service.jobs.sources import RowWork, row_work_fields
from service.jobs.states import add_event, finish_cancelling, lock, move
from service.jobs.tables import JobRow, ShardRow
from service.work import Claim, siblings

PIECE = 1000  # so many work items of a job are added at a time
EXTENSIONS: dict[Format, str] = {"npz": "npz", "parquet": "parquet"}


@dataclass(frozen=True, kw_only=True)
class ShardWork(RowWork):
    """What a worker generates."""

    job_id: str
    index: int
    name: str
    first_row: int
    rows: int
    format: Format
    shards_total: int
    estimated_bytes: int


def add_items(session: Session, job: JobRow) -> None:
    """Add the next work items of the locked job, a piece at a time, when few are left; committed shards have none."""
    total = job.shards_total or 0
    while job.open_shards <= PIECE // 2 and job.next_shard < total:
        stop = min(job.next_shard + PIECE, total)
        committed = _committed(session, job, stop) if job.shards_done else set()
        queue = f"compute.{(job.execution or {})['device']}"
        items = [
            work.NewItem(job.tenant_id, "shard", queue, job.id, index, job.id, job.priority)
            for index in range(job.next_shard, stop)
            if index not in committed
        ]
        work.add_many(session, items)
        job.next_shard, job.open_shards = stop, job.open_shards + len(items)


def _committed(session: Session, job: JobRow, stop: int) -> set[int]:
    """The committed shards of the job from its next one on, before `stop`."""
    among = select(ShardRow.index).where(
        ShardRow.job_id == job.id, ShardRow.index >= job.next_shard, ShardRow.index < stop
    )
    return set(session.execute(among).scalars())


def begin_finalizing(session: Session, job: JobRow) -> None:
    """Add the work item that writes the manifest of the locked job."""
    work.add(
        session, tenant_id=job.tenant_id, kind="finalize", queue="prompt", subject_id=job.id, job_id=job.id,
        priority=job.priority,
    )  # fmt: skip


def shard_name(index: int, total: int, format: Format) -> str:
    """data-00003-of-00012.npz: five digits, more where needed."""
    return f"data-{index:05d}-of-{total:05d}.{EXTENSIONS[format]}"


def shard_work_of(session: Session, claim: Claim) -> ShardWork:
    """What the claim is for; the job is running from now on. Raises Stopped when the job does not want it any more."""
    job = lock(session, claim.subject_id)
    if job.deleted_at is not None or job.state not in {"queued", "running"} or claim.index is None:
        raise work.Stopped(f"{job.id} is {job.state}")
    if job.state == "queued":
        move(session, job, "running")
    request = JobRequest.model_validate(job.request)
    if job.shard_rows is None or job.shards_total is None or request.format is None:
        raise ValueError(f"{job.id} runs without a plan")
    first_row = claim.index * job.shard_rows
    rows = min(job.shard_rows, job.rows_total - first_row)
    return ShardWork(
        **row_work_fields(session, job),
        job_id=job.id,
        index=claim.index,
        name=shard_name(claim.index, job.shards_total, request.format),
        first_row=first_row,
        rows=rows,
        format=request.format,
        shards_total=job.shards_total,
        estimated_bytes=(job.planned_bytes or 0) * rows // job.rows_total,
    )


def commit_shard(
    session: Session,
    claim: Claim,
    *,
    key: str,
    name: str,
    bytes: int,
    sha256: str,
    execution: Execution,
    rows: int,
) -> None:
    """Publish the shard; the last one moves the job to finalizing. FenceLost: it must not be published."""
    job = lock(session, claim.subject_id)
    work.finish(session, claim)
    siblings.go_on(session, claim)
    if claim.index is None or job.shard_rows is None:
        raise ValueError(f"{claim.item_id} is no shard")
    now = database_now(session)
    shard = ShardRow(
        job_id=job.id, index=claim.index, tenant_id=job.tenant_id, fence=claim.fence, key=key, name=name,
        first_row=claim.index * job.shard_rows, rows=rows, size_bytes=bytes, sha256=sha256,
        execution=_execution_number(job, execution), committed_at=now,
    )  # fmt: skip
    session.add(shard)
    job.shards_done, job.rows_done, job.bytes_done = job.shards_done + 1, job.rows_done + rows, job.bytes_done + bytes
    job.open_shards, job.progress_at = job.open_shards - 1, now
    add_event(session, job, "shard", {"index": shard.index, "name": name, "rows": rows, "bytes": bytes}, now)
    progress = {
        "rows_done": job.rows_done, "rows_total": job.rows_total, "shards_done": job.shards_done,
        "shards_total": job.shards_total, "bytes": job.bytes_done,
    }  # fmt: skip
    add_event(session, job, "progress", progress, now)
    if job.state == "running" and job.shards_done == job.shards_total:
        move(session, job, "finalizing")
        begin_finalizing(session, job)
    elif job.state == "running":
        add_items(session, job)
    finish_cancelling(session, job)


def commit_stop(session: Session, claim: Claim) -> None:
    """The worker has stopped because the job does not want the shard any more."""
    job = lock(session, claim.subject_id)
    work.cancel(session, claim)
    finish_cancelling(session, job)


def fail_job(session: Session, claim: Claim, problem: Problem) -> None:
    """A shard, or the manifest, cannot be made: the job fails."""
    job = lock(session, claim.subject_id)
    work.fail(session, claim)
    if job.state in {"queued", "running", "finalizing"}:
        work.cancel_subject(session, subject_id=job.id)
        move(session, job, "failed", error=problem)
    finish_cancelling(session, job)


def find_shard(session: Session, job: JobRow, index: int) -> ShardRow:
    """The committed shard with this number."""
    if index < 0 or (job.shards_total is not None and index >= job.shards_total):
        raise NotFound(f"{job.id} has {job.shards_total} shards, counted from 0; there is no shard {index}.")
    shard = session.get(ShardRow, (job.id, index)) if job.shards_total is not None else None
    if shard is None:
        raise NotReady(f"Shard {index} of {job.id} is not committed yet; the job is {job.state}.")
    return shard


def list_shards(session: Session, job: JobRow, *, after: int | None, limit: int) -> list[ShardRow]:
    """Up to `limit` committed shards by their number."""
    statement = select(ShardRow).where(ShardRow.job_id == job.id)
    if after is not None:
        statement = statement.where(ShardRow.index > after)
    return list(session.execute(statement.order_by(ShardRow.index).limit(limit)).scalars())


def _execution_number(job: JobRow, execution: Execution) -> int:
    seen = execution.canonical()
    if seen not in job.executions:
        job.executions = [*job.executions, seen]
    return job.executions.index(seen)
