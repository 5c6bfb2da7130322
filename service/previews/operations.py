"""The verbs of previews: the only code that changes their rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from latentmill.errors import Problem
from latentmill.specs import MeasuredExecution, PreviewRequest
from service import work
from service.database import ROW_LOCK, database_now, database_time, new_id
from service.fits.tables import EncodingRow
from service.jobs.sources import RowWork, row_work_fields
from service.jobs.tables import JobRow
from service.models import operations as models
from service.models.tables import ModelRow
from service.previews.asking import JSON, Asked, check_media, rows_of_job, rows_of_strategy
from service.previews.stored import StoredWork, stored_rows_of, stored_work_of
from service.previews.tables import PreviewKind, PreviewRow, PreviewState
from service.resources import stored
from service.settings import Settings, WorkSettings
from service.watching import Mark
from service.work import Claim, WorkItemRow

PRIORITY = 10  # above all that a request can have: somebody waits
AT_A_TIME = 1000
UNTAKEN = frozenset({"pending", "cancelled"})  # states of a work item


@dataclass(frozen=True, kw_only=True)
class PreviewWork(RowWork):
    """Rows that a worker makes and shows."""

    preview_id: str
    indices: tuple[int, ...]
    media_type: str
    job_id: str | None
    job_executions: list[Any]  # those that shards of the job were made under
    executions: dict[str, MeasuredExecution]  # of the model, by device


@dataclass(frozen=True)
class Seen:
    """How a preview is: over, taken by a worker, or waiting for something."""

    state: PreviewState
    taken: bool
    waiting: str | None
    error: Problem | None
    content: bytes | None
    media_type: str

    @property
    def over(self) -> bool:
        return self.state != "queued"

    @property
    def mark(self) -> Mark:
        """As `marks_of` finds it."""
        return self.state, self.taken, self.waiting is not None


def begin(
    session: Session, tenant_id: str, body: PreviewRequest, media_type: str, settings: Settings, *, encode: bool
) -> PreviewRow | EncodingRow:
    """A new preview, for a worker to take; or the encoding that must be ready before there can be one."""
    if body.job is not None:
        asked = rows_of_job(session, tenant_id, body, settings)
    else:
        found = rows_of_strategy(session, tenant_id, body, settings, encode=encode)
        if isinstance(found, EncodingRow):
            return found
        asked = found
    check_media(asked, media_type, settings.limits)
    return add(session, tenant_id, asked, "decoded", media_type)


def begin_reading(session: Session, tenant_id: str, job: str, first: int, count: int, settings: Settings) -> PreviewRow:
    """As `begin`, of rows that are stored already."""
    asked = stored_rows_of(session, tenant_id, job, first, count, settings.limits)
    return add(session, tenant_id, asked, "stored", JSON)


def add(session: Session, tenant_id: str, asked: Asked, kind: PreviewKind, media_type: str) -> PreviewRow:
    """The preview that is asked for, and its work item."""
    row = PreviewRow(
        id=new_id("prv"), tenant_id=tenant_id, kind=kind, state="queued", request=asked.request.canonical(),
        indices=list(asked.indices), media_type=media_type, model_id=asked.model.id, fit_id=asked.fit_id,
        encoding_id=asked.encoding_id, job_id=asked.job_id, execution=asked.execution.canonical(),
        label_counts=asked.label_counts, created_at=database_now(session),
    )  # fmt: skip
    session.add(row)
    session.flush()
    work.add(session, tenant_id=tenant_id, kind="preview", queue="prompt", subject_id=row.id, priority=PRIORITY)
    return row


def seen_of(session: Session, preview_id: str) -> Seen:
    """How the preview is at this moment; one that was dropped is as good as cancelled."""
    row = session.get(PreviewRow, preview_id)
    newest = (
        select(WorkItemRow.state, WorkItemRow.waiting)
        .where(WorkItemRow.subject_id == preview_id)
        .order_by(WorkItemRow.id.desc())
        .limit(1)
    )
    item = session.execute(newest).one_or_none()
    problem = item.waiting if item is not None else None
    return Seen(
        state=row.state if row is not None else "cancelled",
        taken=item is not None and item.state not in UNTAKEN,
        waiting=problem["detail"] if problem is not None else None,
        error=Problem.model_validate(row.error) if row is not None and row.error is not None else None,
        content=row.content if row is not None else None,
        media_type=row.media_type if row is not None else "",
    )


def marks_of(session: Session, ids: Sequence[str]) -> dict[str, Mark]:
    """What changes when a waiting client should look again: over, taken by a worker, or held up."""
    states = select(PreviewRow.id, PreviewRow.state).where(PreviewRow.id.in_(ids))
    items = (
        select(WorkItemRow.subject_id, WorkItemRow.state, WorkItemRow.waiting.is_not(None))
        .where(WorkItemRow.subject_id.in_(ids))
        .order_by(WorkItemRow.id)  # the newest is the last
    )
    newest = {subject_id: (state not in UNTAKEN, waits) for subject_id, state, waits in session.execute(items)}
    return {row_id: (state, *newest.get(row_id, (False, False))) for row_id, state in session.execute(states)}


def give_up(session: Session, preview_id: str) -> Seen:
    """Nobody waits for the preview any more. It may have become ready in this moment: see what is returned."""
    row = session.get(PreviewRow, preview_id, with_for_update=ROW_LOCK)
    seen = seen_of(session, preview_id)
    if row is not None and row.state == "queued":
        work.cancel_subject(session, subject_id=row.id)
        row.state, row.finished_at = "cancelled", database_now(session)
    return seen


def preview_work_of(session: Session, claim: Claim) -> PreviewWork | StoredWork:
    """What the claim is for. Raises FenceLost when nobody waits for it any more."""
    row = _queued(session, claim)
    if row.kind == "stored":
        return stored_work_of(session, row)
    model = session.get_one(ModelRow, row.model_id)
    job = session.get_one(JobRow, row.job_id) if row.job_id is not None else None
    return PreviewWork(
        **row_work_fields(session, row),
        preview_id=row.id,
        indices=tuple(row.indices),
        media_type=row.media_type,
        job_id=row.job_id,
        job_executions=job.executions if job is not None else [],
        executions=models.executions_of(model),
    )


def commit_preview(session: Session, claim: Claim, *, content: bytes) -> None:
    """The rows are there, as the body of the answer."""
    row = _queued(session, claim)
    work.finish(session, claim)
    row.state, row.content, row.finished_at = "ready", content, database_now(session)


def fail_preview(session: Session, claim: Claim, problem: Problem) -> None:
    """The rows cannot be made."""
    mark_failed(session, claim.subject_id, problem)
    work.fail(session, claim)


def mark_failed(session: Session, preview_id: str, problem: Problem) -> bool:
    """The preview failed; False when it was over before."""
    row = session.get(PreviewRow, preview_id, with_for_update=ROW_LOCK)
    if row is None or row.state != "queued":
        return False
    row.state, row.error, row.finished_at = "failed", stored(problem), database_now(session)
    return True


def drop_old(session: Session, settings: WorkSettings) -> int:
    """Drop the previews that were answered, or whose client or service has long gone; how many."""
    old = select(PreviewRow).where(PreviewRow.created_at < database_time(-settings.keep_previews_seconds))
    due = old.order_by(PreviewRow.id).limit(AT_A_TIME).with_for_update(skip_locked=True, key_share=True)
    rows = session.execute(due).scalars().all()
    for row in rows:
        if row.state == "queued":
            work.cancel_subject(session, subject_id=row.id)
        session.delete(row)
    session.flush()
    return len(rows)


def _queued(session: Session, claim: Claim) -> PreviewRow:
    """The preview of a claim. It is locked before the work item, here and wherever it is given up."""
    row = session.get(PreviewRow, claim.subject_id, with_for_update=ROW_LOCK)
    if row is None or row.state != "queued":
        raise work.FenceLost(f"{claim.subject_id} is over")
    return row
