"""The end of a job: its manifest, written once and last."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from latentmill.errors import NotFound, NotReady
from latentmill.specs import JobRequest, Rows
from service import work
from service.fits.tables import FitRow
from service.jobs.states import lock, move
from service.jobs.tables import JobRow, ShardRow
from service.models import operations as models
from service.models.tables import ModelRow
from service.work import Claim

MANIFEST_SCHEMA = 1
NOISE_SCHEME = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Finalization:
    """What a worker writes the manifest, the checksums and the dataset card from."""

    job_id: str
    tenant_id: str
    folder: str
    name: str | None
    model_description: str
    manifest: dict[str, Any]


@dataclass(frozen=True)
class StoredText:
    """A small file of the dataset folder, as it was stored."""

    name: str
    key: str
    bytes: int
    sha256: str


def finalization_of(session: Session, claim: Claim) -> Finalization:
    """What the claim is for. Raises Stopped when the job is over."""
    job = session.get_one(JobRow, claim.subject_id)
    if job.state != "finalizing" or job.deleted_at is not None:
        raise work.Stopped(f"{job.id} is {job.state}")
    model = session.get_one(ModelRow, job.model_id)
    return Finalization(
        job_id=job.id,
        tenant_id=job.tenant_id,
        folder=f"{job.tenant_id}/jobs/{job.id}",
        name=job.name,
        model_description=models.manifest_of(model).description,
        manifest=_manifest(session, job, model),
    )


def commit_finalize(session: Session, claim: Claim, *, files: list[StoredText]) -> None:
    """The dataset folder is whole: the job has succeeded."""
    job = lock(session, claim.subject_id)
    work.finish(session, claim)
    job.files = {file.name: {"key": file.key, "bytes": file.bytes, "sha256": file.sha256} for file in files}
    move(session, job, "succeeded")


def stored_file(job: JobRow, name: str) -> dict[str, Any]:
    """Key, bytes and sha256 of a file of the dataset folder that is not a shard."""
    if job.state != "succeeded":
        raise NotReady(f"{name} exists when the job has succeeded; {job.id} is {job.state}.")
    if name not in job.files:
        raise NotFound(f"{job.id} has no file {name!r}; it has {', '.join(sorted(job.files))}.")
    file: dict[str, Any] = job.files[name]
    return file


def _manifest(session: Session, job: JobRow, model: ModelRow) -> dict[str, Any]:
    vae = models.manifest_of(model)
    request = JobRequest.model_validate(job.request)
    fit = session.get_one(FitRow, job.fit_id) if job.fit_id else None
    shards = session.execute(select(ShardRow).where(ShardRow.job_id == job.id).order_by(ShardRow.index)).scalars()
    return {
        "schema": MANIFEST_SCHEMA,
        "job": job.id,
        "created_at": job.created_at.isoformat().replace("+00:00", "Z"),
        "rows": job.rows_total,
        "seed": job.seed,
        "noise": NOISE_SCHEME,
        "model": {"id": model.id, "name": model.name or vae.name, "digest": model.digest},
        "fit": {"id": fit.id, "family": fit.family, "digest": fit.parameters_digest} if fit is not None else None,
        "strategy": request.strategy.canonical(),
        "labels": dict(job.label_counts) if job.label_counts is not None else None,
        "report": job.report_id,
        "output": request.output,
        "format": request.format,
        "row_kind": vae.rows.kind,
        **_row_shape(vae.rows),
        "executions": job.executions,
        "shards": [
            {
                "index": shard.index,
                "name": shard.name,
                "first_row": shard.first_row,
                "rows": shard.rows,
                "bytes": shard.size_bytes,
                "sha256": shard.sha256,
                "execution": shard.execution,
            }
            for shard in shards
        ],
    }


def _row_shape(rows: Rows) -> dict[str, Any]:
    if rows.kind == "table":
        return {"columns": [{"name": column.name, "kind": column.kind} for column in rows.columns]}
    dtype = rows.dtype if rows.kind == "image" else "float32"
    shape = {"shape": list(rows.shape), "dtype": dtype}
    return shape | ({"columns": list(rows.features)} if rows.kind == "series" else {})
