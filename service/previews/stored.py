"""Rows of a job's committed shards: a worker reads them, because it knows every format that shards have."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from latentmill.errors import Gone, InvalidRequest, LimitExceeded, NotReady
from latentmill.specs import Execution, JobRequest, VaeManifest
from latentmill.specs.requests import Format
from service.jobs.tables import JobRow, ShardRow
from service.models import operations as models
from service.models.tables import ModelRow
from service.previews.asking import Asked, check_size, values_per_row
from service.previews.tables import PreviewRow
from service.resources import find
from service.settings import LimitSettings


@dataclass(frozen=True)
class StoredPart:
    """Rows first to stop of one shard's file."""

    key: str
    first: int
    stop: int


@dataclass(frozen=True)
class StoredWork:
    """Rows that a worker reads."""

    preview_id: str
    job_id: str
    first: int
    manifest: VaeManifest
    format: Format
    parts: list[StoredPart]


def stored_rows_of(
    session: Session, tenant_id: str, reference: str, first: int, count: int, limits: LimitSettings
) -> Asked:
    """`count` rows from `first`, fewer where the job ends; all of them must be committed."""
    job = find(session, JobRow, tenant_id, reference)
    if count > limits.stored_rows:
        raise LimitExceeded(
            f"At most {limits.stored_rows:,} rows are shown at a time; ask for the next ones with first={first + count}"
            ", or download the shards.",
            pointer="/count",
        )
    if first >= job.rows_total:
        raise InvalidRequest(
            f"{job.id} has {job.rows_total:,} rows, counted from 0; there is no row {first:,}.", pointer="/first"
        )
    stop = min(first + count, job.rows_total)
    _parts(session, job, first, stop)
    request, model = JobRequest.model_validate(job.request), session.get_one(ModelRow, job.model_id)
    manifest = models.manifest_of(model)
    latents = manifest.latent.size if request.include_latents else 0
    check_size(stop - first, values_per_row(manifest) + latents, limits.preview_values, "/count")
    return Asked(
        request, tuple(range(first, stop)), Execution.model_validate(job.execution), None, model, job_id=job.id
    )


def stored_work_of(session: Session, row: PreviewRow) -> StoredWork:
    """What a worker reads for this preview. Raises Gone when the job was deleted meanwhile."""
    job = session.get_one(JobRow, row.job_id)
    if job.deleted_at is not None:
        raise Gone(f"{job.id} was deleted.")
    request = JobRequest.model_validate(job.request)
    if request.format is None:
        raise ValueError(f"{job.id} has shards without a format")
    return StoredWork(
        preview_id=row.id,
        job_id=job.id,
        first=row.indices[0],
        manifest=models.manifest_of(session.get_one(ModelRow, job.model_id)),
        format=request.format,
        parts=_parts(session, job, row.indices[0], row.indices[-1] + 1),
    )


def _parts(session: Session, job: JobRow, first: int, stop: int) -> list[StoredPart]:
    """Where rows first to stop of the job lie. Raises NotReady where some of them are not committed."""
    shard_rows = job.shard_rows
    if shard_rows is None:
        raise NotReady(f"{job.id} is {job.state}: no row of it is committed yet.")
    lowest, highest = first // shard_rows, (stop - 1) // shard_rows
    wanted = select(ShardRow).where(ShardRow.job_id == job.id, ShardRow.index.between(lowest, highest))
    shards = {shard.index: shard for shard in session.execute(wanted).scalars()}
    parts = []
    for index in range(lowest, highest + 1):
        shard = shards.get(index)
        if shard is None:
            last = min((index + 1) * shard_rows, job.rows_total) - 1
            raise NotReady(
                f"Rows {index * shard_rows:,} to {last:,} of {job.id} are not committed yet; the job is {job.state}."
            )
        start, end = shard.first_row, shard.first_row + shard.rows
        parts.append(StoredPart(shard.key, max(first, start) - start, min(stop, end) - start))
    return parts
