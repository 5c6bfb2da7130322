"""The verbs of fits: the only code that changes their rows."""

import hashlib
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session

from latentmill.errors import Gone, InvalidLabels, InvalidRequest, NotReady, Problem
from latentmill.specs import Empirical, Family, FitRequest, VaeManifest
from service import work
from service.database import ROW_LOCK, database_now, new_id
from service.datasets import operations as datasets
from service.datasets.tables import DatasetRow
from service.fits import encodings
from service.fits.tables import EncodingRow, FitRow
from service.models import operations as models
from service.models.tables import ModelRow
from service.resources import check_name, find_needed, find_to_delete, insert, name_taken, refuse_if_needed, stored
from service.work import Claim, needs

FAMILY: TypeAdapter[Family] = TypeAdapter(Family)
SETTLED = frozenset({"ready", "failed"})
HOLDS_ROWS = frozenset({"empirical"})


@dataclass(frozen=True)
class FitWork:
    """What a worker fits."""

    fit_id: str
    tenant_id: str
    request: FitRequest
    model_id: str
    model_key: str
    model_digest: str
    manifest: VaeManifest
    encoding_id: str
    encoding_key: str
    rows: int
    deterministic: bool
    label_classes: list[str] | None
    warnings: list[str]  # of the encoding


def create(session: Session, tenant_id: str, request: FitRequest) -> tuple[FitRow, bool]:
    """The fit that is asked for, and whether it is begun now."""
    model = find_needed(session, ModelRow, tenant_id, request.model, pointer="/model", lock=True)
    dataset = find_needed(session, DatasetRow, tenant_id, request.dataset, pointer="/dataset", lock=True)
    encodings.check_pair(model, dataset)
    _check_labels(request, dataset)
    _check_family(request, model, dataset)
    request = request.model_copy(update={"model": model.id, "dataset": dataset.id})
    encodings.lock(session, model, dataset)  # before the fit: so does everyone who locks both
    row = _same(session, tenant_id, request.digest())
    if row is not None and row.state != "failed":
        return row, False
    encoding = encodings.ensure(session, model, dataset)
    if row is None:
        check_name(session, FitRow, tenant_id, request.name)
        row = FitRow(
            id=new_id("fit"), tenant_id=tenant_id, name=request.name, state="queued", warnings=[],
            metadata_=dict(request.metadata), created_at=database_now(session), request_digest=request.digest(),
            request=request.canonical(), model_id=model.id, dataset_id=dataset.id, encoding_id=encoding.id,
            family=request.family.canonical(), progress=0.0,
        )  # fmt: skip
        if not insert(session, row):
            # Another request won the race since we looked: the same one, or one with the name alone.
            row = _same(session, tenant_id, request.digest())
            if row is None:
                raise name_taken(request.name)
            return row, False
    else:
        row.state, row.error, row.finished_at, row.progress = "queued", None, None, 0.0
        row.encoding_id, row.started_at = encoding.id, None
    _begin(session, row, model, dataset, encoding)
    return row, True


def start(session: Session, fit_id: str) -> None:
    """The encoding is ready: fit."""
    row = session.get_one(FitRow, fit_id, with_for_update=ROW_LOCK)
    if row.state != "queued" or row.deleted_at is not None:
        return
    row.state_reason = None
    work.add(session, tenant_id=row.tenant_id, kind="fit", queue="compute", subject_id=row.id)


def delete(session: Session, tenant_id: str, reference: str) -> tuple[FitRow, list[str]]:
    """Delete the fit; the files to delete once this is committed."""
    row = find_to_delete(session, FitRow, tenant_id, reference)
    refuse_if_needed(session, ("fit", row.id))
    return row, _delete(session, row)


def delete_row_holders_of(session: Session, dataset_id: str) -> list[str]:
    """Delete the fits that hold the rows of a dataset that is deleted; the files to delete after it."""
    mine = (
        select(FitRow)
        .where(FitRow.dataset_id == dataset_id, FitRow.deleted_at.is_(None))
        .with_for_update(key_share=True)
    )
    rows = [row for row in session.execute(mine).scalars() if row.family["kind"] in HOLDS_ROWS]
    return [key for row in rows for key in _delete(session, row)]


def fit_work_of(session: Session, claim: Claim) -> FitWork:
    """What the claim is for; the fit is running from now on."""
    row = _locked(session, claim)
    model, encoding = session.get_one(ModelRow, row.model_id), session.get_one(EncodingRow, row.encoding_id)
    if model.key is None or encoding.key is None:
        raise Gone(f"What {row.id} is fitted to was deleted.")
    if row.state == "queued":
        row.state, row.started_at = "running", database_now(session)
    return FitWork(
        fit_id=row.id,
        tenant_id=row.tenant_id,
        request=FitRequest.model_validate(row.request),
        model_id=model.id,
        model_key=model.key,
        model_digest=model.digest,
        manifest=models.manifest_of(model),
        encoding_id=encoding.id,
        encoding_key=encoding.key,
        rows=encoding.rows or 0,
        deterministic=bool(encoding.deterministic),
        label_classes=datasets.classes_of(session.get_one(DatasetRow, row.dataset_id)),
        warnings=encoding.warnings,
    )


def report_progress(session: Session, claim: Claim, fraction: float) -> None:
    """How far the fit of this claim is."""
    row = session.get_one(FitRow, claim.subject_id)
    if row.state == "running":
        row.progress = max(row.progress, min(fraction, 1.0))


def commit_fit(
    session: Session,
    claim: Claim,
    *,
    family: Family,
    parameters: bytes | None,
    parameters_key: str | None,
    stored_bytes: int,
    diagnostics: dict[str, Any],
    warnings: list[str],
    parameters_digest: str | None = None,
) -> None:
    """The fit is ready. Its parameters are here, or in storage under `parameters_key` with their sha256."""
    if (parameters is None) == (parameters_key is None or parameters_digest is None):
        raise ValueError("a fit has its parameters, or their key and digest")
    row = _locked(session, claim)
    work.finish(session, claim)
    row.state, row.finished_at, row.progress = "ready", database_now(session), 1.0
    row.family, row.diagnostics, row.warnings = family.canonical(), diagnostics, warnings
    row.parameters, row.parameters_key, row.stored_bytes = parameters, parameters_key, stored_bytes
    row.parameters_digest = hashlib.sha256(parameters).hexdigest() if parameters is not None else parameters_digest
    needs.end(session, ("fit", row.id))


def fail_fit(session: Session, claim: Claim, problem: Problem) -> None:
    """The fit could not be made."""
    _locked(session, claim)
    work.fail(session, claim)
    mark_failed(session, claim.subject_id, problem)


def mark_failed(session: Session, fit_id: str, problem: Problem) -> bool:
    """The fit failed; False when it was over before."""
    row = session.get_one(FitRow, fit_id, with_for_update=ROW_LOCK)
    if row.state not in {"queued", "running"} or row.deleted_at is not None:
        return False
    row.state, row.error, row.finished_at = "failed", stored(problem), database_now(session)
    row.state_reason = None
    needs.end(session, ("fit", row.id))
    return True


def ready_parameters(row: FitRow) -> tuple[bytes | None, str | None]:
    """A ready fit's parameters: the bytes, or the key where they are stored."""
    if row.state != "ready":
        raise NotReady(f"{row.id} is {row.state}; its parameters exist when it is ready.")
    return row.parameters, row.parameters_key


def _begin(session: Session, row: FitRow, model: ModelRow, dataset: DatasetRow, encoding: EncodingRow) -> None:
    me: needs.Named = ("fit", row.id)
    needs.need(session, me, ("model", model.id), settled=model.state == "ready")
    needs.need(session, me, ("dataset", dataset.id), settled=dataset.state == "ready")
    needs.need(session, me, ("encoding", encoding.id), settled=encoding.state == "ready")
    if waiting := needs.waiting_on(session, me):
        row.state_reason = f"waiting for {', '.join(needed.id for needed in waiting)}"
    else:
        start(session, row.id)


def _check_labels(request: FitRequest, dataset: DatasetRow) -> None:
    """A dataset that is still read is looked at by the fit itself."""
    if request.by_label and dataset.state == "ready" and datasets.classes_of(dataset) is None:
        raise InvalidLabels(
            f'{dataset.id} has no labels to fit by; upload it with labels, or take "by_label": false.',
            pointer="/by_label",
        )


def _check_family(request: FitRequest, model: ModelRow, dataset: DatasetRow) -> None:
    """What is known of a ready model without looking at its latents; the fit itself sees the rest."""
    if not isinstance(request.family, Empirical) or model.state != "ready" or dataset.kind == "latents":
        return
    if models.manifest_of(model).deterministic:
        raise InvalidRequest(
            f"The encoder of {model.id} gives no std, so there is nothing to draw around a row; take the family "
            "gaussian, mixture or flow.",
            pointer="/family/kind",
        )


def _delete(session: Session, row: FitRow) -> list[str]:
    work.cancel_subject(session, subject_id=row.id)
    needs.forget(session, ("fit", row.id))
    row.deleted_at, row.parameters = database_now(session), None
    keys, row.parameters_key = [row.parameters_key] if row.parameters_key else [], None
    return keys


def _locked(session: Session, claim: Claim) -> FitRow:
    """The fit of a claim. It is locked before the work item, here and wherever it is deleted or given up."""
    return session.get_one(FitRow, claim.subject_id, with_for_update=ROW_LOCK)


def _same(session: Session, tenant_id: str, request_digest: str) -> FitRow | None:
    statement = select(FitRow).where(
        FitRow.tenant_id == tenant_id, FitRow.request_digest == request_digest, FitRow.deleted_at.is_(None)
    )
    return session.execute(statement.with_for_update(key_share=True)).scalar_one_or_none()
