"""The verbs of reports: the only code that changes their rows."""

from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session

from latentmill.errors import NoReport, NotReady, Problem
from latentmill.specs import Aggregate, ReportRequest, Strategy
from service import work
from service.database import ROW_LOCK, database_now, new_id
from service.datasets.tables import DatasetRow
from service.fits import encodings
from service.fits.tables import EncodingRow, FitRow
from service.models.tables import ModelRow
from service.reports.candidates import PlannedCandidate
from service.reports.planning import plan
from service.reports.resolution import name_datasets, name_fits
from service.reports.sources import ReportWork, sources_of
from service.reports.tables import ReportRow
from service.resources import check_name, find_to_delete, insert, name_taken, refuse_if_needed, stored
from service.work import Claim, needs

STRATEGY: TypeAdapter[Strategy] = TypeAdapter(Strategy)
SETTLED = frozenset({"ready", "failed"})
FITS_SHARE = 0.5  # of the progress of a report that has fits to wait for


def create(session: Session, tenant_id: str, request: ReportRequest) -> ReportRow:
    """A new report: what it needs is begun, and it waits for that."""
    check_name(session, ReportRow, tenant_id, request.name)
    request, model, named = name_datasets(session, tenant_id, request)
    # Encodings before fits, and they before reports, each kind in one order: so does everyone who locks several.
    encoded = [_ensured(session, model, row) for row in sorted(named, key=lambda row: row.id)]
    request, fitted = name_fits(session, tenant_id, request)
    dataset = session.get_one(DatasetRow, request.dataset)
    planned = None
    if model.state == "ready" and dataset.state == "ready":
        planned = plan(session, tenant_id, request, model, dataset)
    row = ReportRow(
        id=new_id("rep"), tenant_id=tenant_id, name=request.name, state="queued", warnings=[],
        metadata_=dict(request.metadata), created_at=database_now(session), request=request.canonical(),
        model_id=model.id, dataset_id=request.dataset, reference_id=request.reference, progress=0.0,
        candidates=_written(planned) if planned is not None else None,
    )  # fmt: skip
    if not insert(session, row):
        raise name_taken(request.name)
    needed: list[tuple[needs.ResourceKind, ModelRow | DatasetRow | EncodingRow | FitRow]] = [
        ("model", model),
        *(("dataset", each) for each in named),
        *(("encoding", each) for each in encoded),
        *(("fit", each) for each in fitted),
    ]
    for kind, each in needed:
        needs.need(session, ("report", row.id), (kind, each.id), settled=each.state == "ready")
    _go_on(session, row)
    return row


def start(session: Session, report_id: str) -> None:
    """All that the report waits for is settled: have the fits made that it needs, then have it measured."""
    row = session.get_one(ReportRow, report_id, with_for_update=ROW_LOCK)
    if row.state != "queued" or row.deleted_at is not None:
        return
    if row.candidates is None:
        request = ReportRequest.model_validate(row.request)
        model, dataset = session.get_one(ModelRow, row.model_id), session.get_one(DatasetRow, row.dataset_id)
        row.candidates = _written(plan(session, row.tenant_id, request, model, dataset))
    _go_on(session, row)


def delete(session: Session, tenant_id: str, reference: str) -> tuple[ReportRow, list[str]]:
    """Delete the report, not its fits; the files to delete once this is committed."""
    row = find_to_delete(session, ReportRow, tenant_id, reference)
    refuse_if_needed(session, ("report", row.id))
    work.cancel_subject(session, subject_id=row.id)
    needs.forget(session, ("report", row.id))
    row.deleted_at, row.content = database_now(session), None
    keys, row.page_key = [row.page_key] if row.page_key else [], None
    return row, keys


def report_work_of(session: Session, claim: Claim) -> ReportWork:
    """What the claim is for; the report is running from now on."""
    row = _locked(session, claim)
    sources = sources_of(session, row)
    if row.state == "queued":
        row.state, row.started_at = "running", database_now(session)
    return sources


def report_progress(session: Session, claim: Claim, fraction: float) -> None:
    """How far the measuring for this claim is."""
    row = session.get_one(ReportRow, claim.subject_id)
    if row.state == "running":
        row.progress = max(row.progress, min(fraction, 1.0))


def commit_report(
    session: Session,
    claim: Claim,
    *,
    content: dict[str, Any],
    page_key: str,
    stored_bytes: int,
    warnings: list[str],
) -> None:
    """The report is ready: what was measured, and the key of its page in storage."""
    row = _locked(session, claim)
    work.finish(session, claim)
    row.state, row.finished_at, row.progress = "ready", database_now(session), 1.0
    row.content, row.page_key, row.stored_bytes, row.warnings = content, page_key, stored_bytes, warnings
    needs.end(session, ("report", row.id))


def fail_report(session: Session, claim: Claim, problem: Problem) -> None:
    """The report could not be made."""
    _locked(session, claim)
    work.fail(session, claim)
    mark_failed(session, claim.subject_id, problem)


def mark_failed(session: Session, report_id: str, problem: Problem) -> bool:
    """The report failed; False when it was over before."""
    row = session.get_one(ReportRow, report_id, with_for_update=ROW_LOCK)
    if row.state not in {"queued", "running"} or row.deleted_at is not None:
        return False
    work.cancel_subject(session, subject_id=row.id)
    row.state, row.error, row.finished_at = "failed", stored(problem), database_now(session)
    needs.end(session, ("report", row.id))
    return True


def recommended(session: Session, model: ModelRow, dataset: DatasetRow) -> tuple[ReportRow, Strategy]:
    """The newest ready report of this model and dataset, and the strategy that it recommends.

    Raises NoReport where there is none, or where it recommends nothing; NotReady where its fit was deleted.
    """
    newest = (
        select(ReportRow)
        .where(
            ReportRow.tenant_id == model.tenant_id,
            ReportRow.model_id == model.id,
            ReportRow.dataset_id == dataset.id,
            ReportRow.state == "ready",
            ReportRow.deleted_at.is_(None),
        )
        .order_by(ReportRow.id.desc())
        .limit(1)
    )
    row = session.execute(newest).scalar_one_or_none()
    if row is None:
        raise NoReport(
            f"No report of {model.id} and {dataset.id} is ready: `latentmill report {model.id} {dataset.id}` makes "
            "one; or name a strategy",
            pointer="/strategy",
        )
    recommendation = (row.content or {}).get("recommendation") or {}
    if recommendation.get("strategy") is None:
        reason = f": {str(recommendation['reason']).rstrip('.')}" if recommendation.get("reason") else ""
        raise NoReport(
            f"{row.id} recommends no strategy{reason}. Name one, or make another report.", pointer="/strategy"
        )
    strategy = STRATEGY.validate_python(recommendation["strategy"])
    if isinstance(strategy, Aggregate) and session.get_one(FitRow, strategy.fit).deleted_at is not None:
        raise NotReady(
            f"{row.id} recommends {strategy.fit}, which was deleted: make another report, or name a strategy",
            pointer="/strategy",
        )
    return row, strategy


def planned_of(row: ReportRow) -> list[PlannedCandidate]:
    """The candidates as far as they are known."""
    return [PlannedCandidate.model_validate(each) for each in row.candidates or []]


def progress_of(session: Session, row: ReportRow) -> float:
    """How far the report is: its fits are the first half, where it has any, and the measuring is the second."""
    made = [candidate.fit for candidate in planned_of(row) if candidate.fit is not None]
    share = FITS_SHARE if made else 0.0
    if row.state != "queued":
        return share + (1 - share) * row.progress if row.state == "running" else row.progress
    rows = session.execute(select(FitRow.state, FitRow.progress).where(FitRow.id.in_(made))).all()
    return share * sum(1.0 if state in SETTLED else progress for state, progress in rows) / max(1, len(rows))


def page_key_of(row: ReportRow) -> str:
    """Where the page of a ready report is stored."""
    if row.state != "ready" or row.page_key is None:
        reason = f": {row.error['detail']}" if row.error else ""
        raise NotReady(f"{row.id} is {row.state}{reason}; its page exists when it is ready.")
    return row.page_key


def _ensured(session: Session, model: ModelRow, dataset: DatasetRow) -> EncodingRow:
    """The encoding, locked until the transaction ends also where another one has made it in this moment."""
    encoding = encodings.ensure(session, model, dataset)
    session.refresh(encoding, with_for_update=ROW_LOCK)
    return encoding


def _go_on(session: Session, row: ReportRow) -> None:
    """Wait for the fits, and be measured when all of them are settled: one that failed is a candidate with an error."""
    if row.candidates is None:
        return
    me: needs.Named = ("report", row.id)
    planned, states = planned_of(row), {}
    for candidate in planned:
        if candidate.fit is not None:
            states[candidate.fit] = fit = session.get_one(FitRow, candidate.fit)
            needs.need(session, me, ("fit", fit.id), settled=fit.state in SETTLED)
    if needs.waiting_on(session, me):
        return
    row.candidates = _written([_with_error(candidate, states) for candidate in planned])
    work.add(session, tenant_id=row.tenant_id, kind="report", queue="compute", subject_id=row.id)


def _with_error(candidate: PlannedCandidate, fits_by_id: dict[str, FitRow]) -> PlannedCandidate:
    fit = fits_by_id.get(candidate.fit or "")
    if fit is None or fit.error is None:
        return candidate
    return candidate.model_copy(update={"error": fit.error["detail"]})


def _written(planned: list[PlannedCandidate]) -> list[Any]:
    return [candidate.model_dump(mode="json") for candidate in planned]


def _locked(session: Session, claim: Claim) -> ReportRow:
    """The report of a claim. It is locked before the work item, here and wherever it is deleted or given up."""
    return session.get_one(ReportRow, claim.subject_id, with_for_update=ROW_LOCK)
