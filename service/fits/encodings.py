"""The verbs of encodings: the posteriors of a dataset's rows under a model, made once, on demand."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from latentmill.errors import Gone, InvalidLabels, ModelMismatch, Problem
from latentmill.specs import Execution, MeasuredExecution, VaeManifest
from latentmill.specs.datasets import is_typed, typed_columns, why_not_taken
from service import work
from service.database import ROW_LOCK, database_now, new_id
from service.datasets import operations as datasets
from service.datasets.tables import DatasetRow
from service.fits.tables import EncodingRow
from service.models import operations as models
from service.models.tables import ModelRow
from service.resources import insert, stored
from service.work import Claim, needs

SHOWN_CLASSES = 5


@dataclass(frozen=True)
class EncodingWork:
    """What a worker encodes."""

    encoding_id: str
    tenant_id: str
    model_id: str
    model_key: str
    model_digest: str
    manifest: VaeManifest
    executions: dict[str, MeasuredExecution]
    dataset_id: str
    dataset_kind: Literal["rows", "latents"]
    rows_key: str
    layout: datasets.Layout | None
    columns: list[Any] | None
    rows: int
    labels_key: str | None
    label_classes: list[str] | None


def of_pair(session: Session, model: ModelRow, dataset: DatasetRow) -> EncodingRow | None:
    """The encoding of this dataset under this model, if there is one."""
    statement = select(EncodingRow).where(
        EncodingRow.tenant_id == model.tenant_id,
        EncodingRow.model_id == model.id,
        EncodingRow.dataset_id == dataset.id,
        EncodingRow.deleted_at.is_(None),
    )
    return session.execute(statement).scalar_one_or_none()


def lock(session: Session, model: ModelRow, dataset: DatasetRow) -> None:
    """Lock the encoding of this dataset under this model until the transaction ends, if there is one."""
    if (row := of_pair(session, model, dataset)) is not None:
        session.refresh(row, with_for_update=ROW_LOCK)


def ensure(session: Session, model: ModelRow, dataset: DatasetRow) -> EncodingRow:
    """The encoding of this dataset under this model: the one that exists, or a new one, begun as soon as it can be."""
    row = of_pair(session, model, dataset)
    if row is not None:
        session.refresh(row, with_for_update=ROW_LOCK)
        if row.state == "failed":
            row.state, row.error, row.finished_at = "queued", None, None
            _begin(session, row, model, dataset)
        return row
    row = EncodingRow(
        id=new_id("enc"), tenant_id=model.tenant_id, model_id=model.id, dataset_id=dataset.id, state="queued",
        warnings=[], progress=0.0, created_at=database_now(session),
    )  # fmt: skip
    if insert(session, row):
        _begin(session, row, model, dataset)
        return row
    made_meanwhile = of_pair(session, model, dataset)
    if made_meanwhile is None:
        raise Gone("The encoding was deleted in this moment.")
    return made_meanwhile


def check_pair(model: ModelRow, dataset: DatasetRow, pointer: str = "/dataset") -> None:
    """Raises ModelMismatch or InvalidLabels when both are ready and the model cannot encode the dataset."""
    if model.state != "ready" or dataset.state != "ready":
        return
    manifest = models.manifest_of(model)
    given = tuple(dataset.row_shape or ())
    if dataset.kind == "latents":
        if not _fits(given, manifest.latent.shape):
            raise ModelMismatch(
                f"The latents of {dataset.id} have the shape {list(given)}, those of {model.id} "
                f"{list(manifest.latent.shape)}, or flat [{manifest.latent.size}]",
                pointer=pointer,
            )
        _check_labels(model, manifest, dataset, pointer)
        return
    if manifest.encoder is None:
        raise ModelMismatch(f"{model.id} has no encoder; upload a dataset of latents (kind: latents)", pointer=pointer)
    _check_rows(model, manifest, dataset, pointer)
    _check_labels(model, manifest, dataset, pointer)


def start(session: Session, encoding_id: str) -> None:
    """Model and dataset are ready: encode. Raises when they do not belong together."""
    row = session.get_one(EncodingRow, encoding_id, with_for_update=ROW_LOCK)
    if row.state != "queued" or row.deleted_at is not None:
        return
    check_pair(session.get_one(ModelRow, row.model_id), session.get_one(DatasetRow, row.dataset_id))
    work.add(session, tenant_id=row.tenant_id, kind="encode", queue="compute", subject_id=row.id)


def encoding_work_of(session: Session, claim: Claim) -> EncodingWork:
    """What the claim is for."""
    row = _locked(session, claim)
    model, dataset = session.get_one(ModelRow, row.model_id), session.get_one(DatasetRow, row.dataset_id)
    if model.key is None or dataset.rows_key is None:
        raise Gone(f"What {row.id} encodes was deleted.")
    row.state = "running"
    return EncodingWork(
        encoding_id=row.id,
        tenant_id=row.tenant_id,
        model_id=model.id,
        model_key=model.key,
        model_digest=model.digest,
        manifest=models.manifest_of(model),
        executions=models.executions_of(model),
        dataset_id=dataset.id,
        dataset_kind="latents" if dataset.kind == "latents" else "rows",
        rows_key=dataset.rows_key,
        layout=datasets.layout_of(dataset),
        columns=dataset.columns,
        rows=dataset.rows or 0,
        labels_key=dataset.labels_key,
        label_classes=datasets.classes_of(dataset),
    )


def report_progress(session: Session, claim: Claim, fraction: float) -> None:
    """How far the encoding of this claim is."""
    row = session.get_one(EncodingRow, claim.subject_id)
    if row.state == "running":
        row.progress = max(row.progress, min(fraction, 1.0))


def commit_encoding(
    session: Session,
    claim: Claim,
    *,
    key: str,
    stored_bytes: int,
    rows: int,
    deterministic: bool,
    warnings: list[str],
    execution: Execution | None,
) -> None:
    """The encoding is made."""
    row = _locked(session, claim)
    work.finish(session, claim)
    row.state, row.finished_at, row.progress = "ready", database_now(session), 1.0
    row.key, row.rows, row.deterministic, row.warnings = key, rows, deterministic, warnings
    row.stored_bytes = stored_bytes
    row.execution = execution.canonical() if execution is not None else None
    needs.end(session, ("encoding", row.id))


def fail_encoding(session: Session, claim: Claim, problem: Problem) -> None:
    """The dataset could not be encoded."""
    _locked(session, claim)
    work.fail(session, claim)
    mark_failed(session, claim.subject_id, problem)


def mark_failed(session: Session, encoding_id: str, problem: Problem) -> bool:
    """The encoding failed; False when it was over before."""
    row = session.get_one(EncodingRow, encoding_id, with_for_update=ROW_LOCK)
    if row.state not in {"queued", "running"} or row.deleted_at is not None:
        return False
    row.state, row.error, row.finished_at = "failed", stored(problem), database_now(session)
    needs.end(session, ("encoding", row.id))
    return True


def delete_of(session: Session, *, model_id: str | None = None, dataset_id: str | None = None) -> list[str]:
    """Delete the encodings of a model or of a dataset that is deleted; the files to delete after it."""
    mine = EncodingRow.model_id == model_id if model_id is not None else EncodingRow.dataset_id == dataset_id
    keys = []
    undeleted = select(EncodingRow).where(mine, EncodingRow.deleted_at.is_(None)).order_by(EncodingRow.id)
    for row in session.execute(undeleted.with_for_update(key_share=True)).scalars():
        work.cancel_subject(session, subject_id=row.id)
        needs.forget(session, ("encoding", row.id))
        row.deleted_at = database_now(session)
        if row.key is not None:
            keys.append(row.key)
            row.key = None
    return keys


def _begin(session: Session, row: EncodingRow, model: ModelRow, dataset: DatasetRow) -> None:
    me: needs.Named = ("encoding", row.id)
    needs.need(session, me, ("model", model.id), settled=model.state == "ready")
    needs.need(session, me, ("dataset", dataset.id), settled=dataset.state == "ready")
    if not needs.waiting_on(session, me):
        start(session, row.id)


def _check_rows(model: ModelRow, manifest: VaeManifest, dataset: DatasetRow, pointer: str) -> None:
    """By shapes, and of tables by columns; values are looked at when they are encoded."""
    columns = typed_columns(dataset.columns)
    if manifest.rows.kind == "table" and columns is not None:
        if reason := why_not_taken(manifest.rows, columns):
            raise ModelMismatch(f"{dataset.id} does not fit {model.id}: {reason}.", pointer=pointer)
        return
    if is_typed(dataset.columns):
        raise ModelMismatch(
            f"{dataset.id} holds typed columns, the rows of {model.id} are of kind {manifest.rows.kind}; upload rows "
            "of that kind, without model.",
            pointer=pointer,
        )
    given = list(dataset.row_shape or ())
    if prod(given) != prod(manifest.rows.shape):
        raise ModelMismatch(
            f"The rows of {dataset.id} have the shape {given}, those of {model.id} {list(manifest.rows.shape)}",
            pointer=pointer,
        )


def _check_labels(model: ModelRow, manifest: VaeManifest, dataset: DatasetRow, pointer: str) -> None:
    if manifest.labels is None:
        return
    classes = datasets.classes_of(dataset)
    if classes is None:
        raise InvalidLabels(f"{model.id} is conditional, and {dataset.id} has no labels", pointer=pointer)
    known = set(manifest.labels.classes)
    if unknown := [name for name in classes if name not in known]:
        raise InvalidLabels(
            f"{dataset.id} has labels that {model.id} does not know: {_listed(unknown)}; it knows "
            f"{_listed(manifest.labels.classes)}: upload the rows with those labels",
            pointer=pointer,
        )


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:SHOWN_CLASSES])}{', ...' if len(names) > SHOWN_CLASSES else ''}"


def _fits(given: tuple[int, ...], latents: tuple[int, ...]) -> bool:
    """Whether latents of the shape `given` are the model's: as they are, flat, or with axes of 1 more or less."""
    return given == (prod(latents),) or [size for size in given if size > 1] == [size for size in latents if size > 1]


def _locked(session: Session, claim: Claim) -> EncodingRow:
    """The encoding of a claim. It is locked before the work item, here and wherever it is deleted or given up."""
    return session.get_one(EncodingRow, claim.subject_id, with_for_update=ROW_LOCK)
