"""The verbs of models: the only code that changes their rows."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from latentmill.errors import Gone, Problem
from latentmill.specs import MeasuredExecution, VaeManifest, digest_of
from service import work
from service.database import ROW_LOCK, database_now, new_id
from service.models.tables import ModelRow
from service.resources import check_name, find_to_delete, insert, name_taken, refuse_if_needed, stored
from service.work import Claim

SETTLED = frozenset({"ready", "rejected"})


@dataclass(frozen=True)
class Bundle:
    """An uploaded bundle: where it lies, and what was counted while it came."""

    key: str
    filename: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class ModelInspection:
    """What a worker inspects."""

    model_id: str
    key: str
    digest: str


def add(
    session: Session,
    tenant_id: str,
    bundle: Bundle,
    name: str | None,
    metadata: dict[str, str],
    expires_at: datetime | None,
) -> tuple[ModelRow, bool]:
    """The model of these bytes under this name, and whether it is inspected anew."""
    request_digest = digest_of({"bundle": bundle.sha256, "name": name})
    row = _same(session, tenant_id, request_digest)
    if row is None:
        check_name(session, ModelRow, tenant_id, name)
        row = ModelRow(
            id=new_id("mdl"), tenant_id=tenant_id, name=name, state="inspecting", warnings=[], metadata_=metadata,
            created_at=database_now(session), request_digest=request_digest, digest=bundle.sha256,
            size_bytes=bundle.size_bytes, filename=bundle.filename, key=bundle.key, executions={},
            expires_at=expires_at,
        )  # fmt: skip
        if not insert(session, row):
            # Another request won the race since we looked: with the same bytes, or with the name alone.
            row = _same(session, tenant_id, request_digest)
            if row is None:
                raise name_taken(name)
            row.keep_until(expires_at)
            return row, False
    elif row.state == "rejected":
        row.state, row.error, row.finished_at = "inspecting", None, None
        row.key, row.filename, row.executions, row.warnings = bundle.key, bundle.filename, {}, []
        row.metadata_, row.expires_at = metadata, expires_at
    else:
        row.keep_until(expires_at)
        return row, False
    work.add(session, tenant_id=tenant_id, kind="inspect", queue="prompt", subject_id=row.id)
    return row, True


def delete(session: Session, tenant_id: str, reference: str) -> tuple[ModelRow, list[str]]:
    """Delete the model; the files to delete once this is committed."""
    row = find_to_delete(session, ModelRow, tenant_id, reference)
    refuse_if_needed(session, ("model", row.id))
    work.cancel_subject(session, subject_id=row.id)
    row.deleted_at = database_now(session)
    keys, row.key = [row.key] if row.key else [], None
    return row, keys


def manifest_of(row: ModelRow) -> VaeManifest:
    """What the bundle of a ready model says of its VAE."""
    return VaeManifest.model_validate(row.manifest)


def executions_of(row: ModelRow) -> dict[str, MeasuredExecution]:
    """What was measured of a ready model, by device kind."""
    return {kind: MeasuredExecution.model_validate(measured) for kind, measured in row.executions.items()}


def inspection_of(session: Session, claim: Claim) -> ModelInspection:
    """What the claim is for."""
    row = _locked(session, claim)
    if row.key is None:
        raise Gone(f"The bundle of {row.id} was deleted.")
    return ModelInspection(row.id, row.key, row.digest)


def commit_inspection(
    session: Session,
    claim: Claim,
    *,
    manifest: VaeManifest,
    executions: dict[str, MeasuredExecution],
    warnings: list[str],
) -> None:
    """The bundle is good: the model is ready."""
    row = _locked(session, claim)
    work.finish(session, claim)
    row.state, row.finished_at = "ready", database_now(session)
    row.manifest = manifest.canonical()
    row.executions = {kind: measured.canonical() for kind, measured in executions.items()}
    row.warnings = warnings


def reject(session: Session, claim: Claim, problem: Problem) -> list[str]:
    """The bundle cannot be used: the model keeps its problem, its bytes go."""
    _locked(session, claim)
    work.fail(session, claim)
    return mark_rejected(session, claim.subject_id, problem)


def mark_rejected(session: Session, model_id: str, problem: Problem) -> list[str]:
    """The model is rejected; the files to delete once this is committed."""
    row = session.get_one(ModelRow, model_id, with_for_update=ROW_LOCK)
    if row.state != "inspecting" or row.deleted_at is not None:
        return []
    row.state, row.error, row.finished_at = "rejected", stored(problem), database_now(session)
    keys, row.key = [row.key] if row.key else [], None
    return keys


def _locked(session: Session, claim: Claim) -> ModelRow:
    """The model of a claim. It is locked before the work item, here and wherever a model is deleted or given up."""
    return session.get_one(ModelRow, claim.subject_id, with_for_update=ROW_LOCK)


def _same(session: Session, tenant_id: str, request_digest: str) -> ModelRow | None:
    statement = select(ModelRow).where(
        ModelRow.tenant_id == tenant_id, ModelRow.request_digest == request_digest, ModelRow.deleted_at.is_(None)
    )
    return session.execute(statement.with_for_update(key_share=True)).scalar_one_or_none()
