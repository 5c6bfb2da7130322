"""The verbs of datasets: the only code that changes their rows."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePath
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from latentmill.errors import Gone, InvalidRequest, ModelMismatch, Problem
from latentmill.specs import TableRows, digest_of
from service import work
from service.database import ROW_LOCK, database_now, new_id
from service.datasets.tables import DatasetRow
from service.models import operations as models
from service.models.tables import ModelRow
from service.resources import check_name, find_needed, find_to_delete, insert, name_taken, refuse_if_needed, stored
from service.work import Claim, needs

SETTLED = frozenset({"ready", "rejected"})
DatasetKind = Literal["rows", "latents"]
Layout = Literal["HWC"]


@dataclass(frozen=True)
class DatasetFile:
    """One uploaded file: where it lies, and what was counted while it came."""

    key: str
    filename: str
    size_bytes: int
    sha256: str

    def identity(self) -> list[str]:
        """Equal for the same bytes, read in the same way."""
        return [self.sha256, PurePath(self.filename).suffix.lower()]


@dataclass(frozen=True)
class DatasetUpload:
    """All that a user said and sent."""

    file: DatasetFile
    kind: DatasetKind = "rows"
    labels: DatasetFile | None = None
    label_column: str | None = None
    model: str | None = None  # by id or name
    name: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    expires_at: datetime | None = None

    def digest(self, model: str | None) -> str:
        """Equal for the same bytes with the same options; how a file's name ends counts: it says how it is read.

        model: the one whose columns the rows have, by its id.
        """
        labels = self.labels.identity() if self.labels else None
        said = [self.file.identity(), self.kind, labels, self.label_column, self.name]
        return digest_of(said if model is None else [*said, model])


@dataclass(frozen=True)
class DatasetReading:
    """What a worker reads."""

    dataset_id: str
    kind: DatasetKind
    key: str
    labels_key: str | None
    filename: str
    label_column: str | None
    labels_filename: str | None
    table: TableRows | None  # the columns of the model that the rows are for


def add(session: Session, tenant_id: str, upload: DatasetUpload) -> tuple[DatasetRow, bool]:
    """The dataset of these bytes with these options, and whether it is read anew."""
    model = _model_of(session, tenant_id, upload)
    digest = upload.digest(model.id if model is not None else None)
    row = _same(session, tenant_id, digest)
    if row is None:
        check_name(session, DatasetRow, tenant_id, upload.name)
        row = DatasetRow(
            id=new_id("dat"), tenant_id=tenant_id, name=upload.name, warnings=[], metadata_={},
            created_at=database_now(session), request_digest=digest, kind=upload.kind,
            label_column=upload.label_column, model_id=model.id if model is not None else None,
        )  # fmt: skip
        _begin(row, upload)
        if not insert(session, row):
            # Another request won the race since we looked: with the same bytes, or with the name alone.
            row = _same(session, tenant_id, digest)
            if row is None:
                raise name_taken(upload.name)
            row.keep_until(upload.expires_at)
            return row, False
    elif row.state == "rejected":
        _begin(row, upload)
    else:
        row.keep_until(upload.expires_at)
        return row, False
    if model is not None:
        needs.need(session, ("dataset", row.id), ("model", model.id), settled=model.state == "ready")
    if model is None or model.state == "ready":
        work.add(session, tenant_id=tenant_id, kind="read", queue="prompt", subject_id=row.id)
    return row, True


def start(session: Session, dataset_id: str) -> None:
    """The model whose columns the rows have is ready: read. Raises when it has no columns."""
    row = session.get_one(DatasetRow, dataset_id, with_for_update=ROW_LOCK)
    if row.state != "reading" or row.deleted_at is not None or row.model_id is None:
        return
    table_of(session.get_one(ModelRow, row.model_id))
    work.add(session, tenant_id=row.tenant_id, kind="read", queue="prompt", subject_id=row.id)


def table_of(model: ModelRow) -> TableRows:
    """The columns of a ready model; raises ModelMismatch where its rows are no table's."""
    rows = models.manifest_of(model).rows
    if rows.kind != "table":
        raise ModelMismatch(
            f"The rows of {model.id} are of kind {rows.kind}: they have no columns to read a file by. Leave model out.",
            pointer="/model",
        )
    return rows


def delete(session: Session, tenant_id: str, reference: str) -> tuple[DatasetRow, list[str]]:
    """Delete the dataset; the files to delete once this is committed."""
    row = find_to_delete(session, DatasetRow, tenant_id, reference)
    refuse_if_needed(session, ("dataset", row.id))
    work.cancel_subject(session, subject_id=row.id)
    needs.forget(session, ("dataset", row.id))
    row.deleted_at = database_now(session)
    return row, _drop_files(row, uploads_only=False)


def classes_of(row: DatasetRow) -> list[str] | None:
    """The classes of a ready dataset's labels, in the order of their numbers."""
    return [name for name, _ in row.label_counts] if row.label_counts is not None else None


def layout_of(row: DatasetRow) -> Layout | None:
    """Where the channel axis of the dataset's images stands, where it is known."""
    return "HWC" if row.layout == "HWC" else None


def reading_of(session: Session, claim: Claim) -> DatasetReading:
    """What the claim is for."""
    row = _locked(session, claim)
    if row.key is None:
        raise Gone(f"The file of {row.id} was deleted.")
    kind: DatasetKind = "latents" if row.kind == "latents" else "rows"
    return DatasetReading(
        row.id, kind, row.key, row.labels_upload_key, row.filename, row.label_column, row.labels_filename,
        table_of(session.get_one(ModelRow, row.model_id)) if row.model_id is not None else None,
    )  # fmt: skip


def commit_reading(
    session: Session,
    claim: Claim,
    *,
    rows: int,
    row_shape: tuple[int, ...],
    dtype: str,
    labels: dict[str, int] | None,
    digest: str,
    columns: list[Any] | None,
    layout: Layout | None,
    warnings: list[str],
    rows_key: str,
    labels_key: str | None,
    stored_bytes: int,
) -> list[str]:
    """The dataset is ready. `labels` counts each class, in the order of their numbers. Uploads to delete after it."""
    row = _locked(session, claim)
    work.finish(session, claim)
    row.state, row.finished_at = "ready", database_now(session)
    row.rows, row.row_shape, row.dtype, row.digest, row.columns = rows, list(row_shape), dtype, digest, columns
    row.layout, row.warnings = layout, warnings
    row.label_counts = [[name, count] for name, count in labels.items()] if labels is not None else None
    row.rows_key, row.labels_key, row.stored_bytes = rows_key, labels_key, stored_bytes
    needs.end(session, ("dataset", row.id))
    return _drop_files(row, uploads_only=True)


def reject(session: Session, claim: Claim, problem: Problem) -> list[str]:
    """The file cannot be read: the dataset keeps its problem, its bytes go."""
    _locked(session, claim)
    work.fail(session, claim)
    return mark_rejected(session, claim.subject_id, problem)


def mark_rejected(session: Session, dataset_id: str, problem: Problem) -> list[str]:
    """The dataset is rejected; the files to delete once this is committed."""
    row = session.get_one(DatasetRow, dataset_id, with_for_update=ROW_LOCK)
    if row.state != "reading" or row.deleted_at is not None:
        return []
    row.state, row.error, row.finished_at = "rejected", stored(problem), database_now(session)
    needs.end(session, ("dataset", row.id))
    return _drop_files(row, uploads_only=False)


def _model_of(session: Session, tenant_id: str, upload: DatasetUpload) -> ModelRow | None:
    """The model that the upload names: a table's, as far as is known by now."""
    if upload.model is None:
        return None
    if upload.kind == "latents":
        raise InvalidRequest("Latents have no columns to read by: leave model out.", pointer="/model")
    model = find_needed(session, ModelRow, tenant_id, upload.model, pointer="/model", lock=True)
    if model.state == "ready":
        table_of(model)
    return model


def _begin(row: DatasetRow, upload: DatasetUpload) -> None:
    row.state, row.error, row.finished_at, row.metadata_ = "reading", None, None, upload.metadata
    row.key, row.filename, row.size_bytes = upload.file.key, upload.file.filename, upload.file.size_bytes
    row.labels_upload_key = upload.labels.key if upload.labels else None
    row.labels_filename = upload.labels.filename if upload.labels else None
    row.expires_at = upload.expires_at


def _drop_files(row: DatasetRow, *, uploads_only: bool) -> list[str]:
    columns = ["key", "labels_upload_key"] if uploads_only else ["key", "labels_upload_key", "rows_key", "labels_key"]
    # What reading wrote may be the upload itself.
    kept = {row.rows_key, row.labels_key} if uploads_only else set()
    keys = [key for column in columns if (key := getattr(row, column)) is not None]
    for column in columns:
        setattr(row, column, None)
    return [key for key in dict.fromkeys(keys) if key not in kept]


def _locked(session: Session, claim: Claim) -> DatasetRow:
    """The dataset of a claim. It is locked before the work item, here and wherever it is deleted or given up."""
    return session.get_one(DatasetRow, claim.subject_id, with_for_update=ROW_LOCK)


def _same(session: Session, tenant_id: str, request_digest: str) -> DatasetRow | None:
    statement = select(DatasetRow).where(
        DatasetRow.tenant_id == tenant_id,
        DatasetRow.request_digest == request_digest,
        DatasetRow.deleted_at.is_(None),
    )
    return session.execute(statement.with_for_update(key_share=True)).scalar_one_or_none()
