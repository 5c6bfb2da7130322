"""Jobs, plans and shards as users see them."""

import hashlib
from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel
from sqlalchemy.orm import Session

from latentmill.specs import Execution, JobRequest
from service.answers import Resource, resource_fields
from service.jobs.operations import state_reasons
from service.jobs.planning import Plan
from service.jobs.states import TERMINAL
from service.jobs.tables import JobRow, ShardRow
from service.settings import Settings


class Progress(BaseModel):
    """How far a job is."""

    rows_done: int
    rows_total: int
    shards_done: int
    shards_total: int | None
    bytes: int
    rows_per_s: float | None
    eta_s: float | None


class Urls(BaseModel):
    """Where a job's parts are."""

    self: str
    events: str
    cancel: str
    retry: str
    manifest: str
    shards: str
    archive: str


class Job(Resource):
    """One request for N rows."""

    state_reason: str | None
    spec: JobRequest
    report: str | None  # that chose the strategy, where that was asked to be automatic
    seed: int
    execution: Execution | None
    progress: Progress
    queued_at: datetime
    started_at: datetime | None
    cancelled_at: datetime | None
    expires_at: datetime | None  # deleted by itself from then on, once it is over
    urls: Urls


class JobPlan(BaseModel):
    """What a job would do. What depends on something that is not ready yet is null."""

    object: str = "plan"
    spec: JobRequest
    state_reason: str | None
    execution: Execution | None
    shards: int | None
    shard_rows: int | None
    estimated_bytes: int | None
    estimated_seconds: float | None


class Shard(BaseModel):
    """One committed file of a job's dataset folder."""

    index: int
    name: str
    first_row: int
    rows: int
    bytes: int
    sha256: str
    url: str


def job_of(session: Session, row: JobRow, settings: Settings) -> Job:
    """The job as users see it."""
    return jobs_of(session, [row], settings)[0]


def jobs_of(session: Session, rows: Sequence[JobRow], settings: Settings) -> list[Job]:
    """The jobs as users see them."""
    reasons = state_reasons(session, rows, settings)
    return [_job(row, reasons.get(row.id)) for row in rows]


def _job(row: JobRow, state_reason: str | None) -> Job:
    path = path_of(row)
    parts = ("events", "cancel", "retry", "manifest", "shards", "archive")
    return Job(
        **resource_fields(row, "job"),
        state_reason=state_reason,
        spec=JobRequest.model_validate(row.request),
        report=row.report_id,
        seed=row.seed,
        execution=Execution.model_validate(row.execution) if row.execution is not None else None,
        progress=_progress(row),
        queued_at=row.queued_at,
        started_at=row.started_at,
        cancelled_at=row.cancelled_at,
        expires_at=row.expires_at,
        urls=Urls(self=path, **{part: f"{path}/{part}" for part in parts}),
    )


def plan_answer(plan: Plan) -> JobPlan:
    """The plan as users see it."""
    return JobPlan(
        spec=plan.request,
        state_reason=f"waiting for {', '.join(plan.waiting_for)}" if plan.waiting_for else None,
        execution=plan.execution,
        shards=plan.shards_total,
        shard_rows=plan.shard_rows,
        estimated_bytes=plan.estimated_bytes,
        estimated_seconds=plan.estimated_seconds,
    )


def shard_of(row: ShardRow) -> Shard:
    """The shard as users see it."""
    return Shard(
        index=row.index,
        name=row.name,
        first_row=row.first_row,
        rows=row.rows,
        bytes=row.size_bytes,
        sha256=row.sha256,
        url=f"/v1/jobs/{row.job_id}/shards/{row.index}",
    )


def path_of(row: JobRow) -> str:
    """The job's address."""
    return f"/v1/jobs/{row.id}"


def etag_of(row: JobRow, job: Job) -> str:
    """Changes whenever the job does: with its revision, and with what keeps it waiting."""
    reason = hashlib.sha256((job.state_reason or "").encode()).hexdigest()[:8]
    return f'W/"{row.revision}-{reason}"'


def _progress(row: JobRow) -> Progress:
    rate = None
    if row.started_at is not None and row.progress_at is not None and row.progress_at > row.started_at:
        rate = (row.rows_done - row.rows_before) / (row.progress_at - row.started_at).total_seconds()
    left = row.rows_total - row.rows_done
    return Progress(
        rows_done=row.rows_done,
        rows_total=row.rows_total,
        shards_done=row.shards_done,
        shards_total=row.shards_total,
        bytes=row.bytes_done,
        rows_per_s=rate,
        eta_s=left / rate if rate and row.state not in TERMINAL else None,
    )
