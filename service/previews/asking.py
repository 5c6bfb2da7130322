"""From what a preview asks for to what is meant: which rows, and of which job, whether that exists or not."""

import secrets
from dataclasses import dataclass
from math import prod
from typing import Any

from sqlalchemy.orm import Session

from latentmill.errors import Gone, InvalidRequest, LimitExceeded, NotAcceptable, NotFound, NotReady
from latentmill.specs import MAX_SEED, Execution, Interpolate, JobRequest, PreviewRequest, VaeManifest
from service.fits import encodings
from service.fits.tables import EncodingRow, FitRow
from service.jobs.planning import plan_of
from service.jobs.resolution import Resolved, resolve
from service.jobs.tables import JobRow
from service.models import operations as models
from service.models.tables import ModelRow
from service.resources import find, find_needed
from service.settings import LimitSettings, Settings

JSON, PNG = "application/json", "image/png"
DEFAULT_ROWS = 8


@dataclass(frozen=True)
class Asked:
    """Rows `indices` of the job that `request` would be, or is: resolved, with its seed and all its rows."""

    request: JobRequest
    indices: tuple[int, ...]
    execution: Execution
    label_counts: list[Any] | None
    model: ModelRow
    fit_id: str | None = None
    encoding_id: str | None = None
    job_id: str | None = None


def rows_of_strategy(
    session: Session, tenant_id: str, body: PreviewRequest, settings: Settings, *, encode: bool
) -> Asked | EncodingRow:
    """The rows that a strategy gives; or the encoding that it needs, with `encode` begun where there is none.

    They are rows of a job that has as many rows as are shown (for interpolate: all its steps). Raises NotReady: a
    preview waits for no model, dataset or fit.
    """
    model, strategy = body.model, body.strategy
    if model is None or strategy is None:
        field = "model" if model is None else "strategy"
        raise InvalidRequest(f"A preview needs a {field}, or a job whose rows it shows.", pointer=f"/{field}")
    total = strategy.rows if isinstance(strategy, Interpolate) else None
    indices = _indices(body, total, f"The strategy makes {total} rows")
    seed = body.seed if body.seed is not None else secrets.randbelow(MAX_SEED + 1)
    request = JobRequest(
        model=model, strategy=strategy, rows=total or len(indices), seed=seed,
        output=body.output or "mean", include_latents=body.include_latents,
    )  # fmt: skip
    resolved = resolve(session, tenant_id, request, settings.limits, lock=True)
    for pointer, row in _named(resolved):
        if row.state != "ready":
            raise NotReady(f"{row.id} is {row.state}; ask for a preview when it is ready.", pointer=pointer)
    encoding = resolved.encoding
    if resolved.dataset is not None and (encoding is None or encoding.state != "ready"):
        if encode:
            return encodings.ensure(session, resolved.model, resolved.dataset)
        raise _not_encoded(encoding)
    the_plan = plan_of(session, resolved, settings)
    if the_plan.execution is None:
        raise ValueError(f"{resolved.model.id} is ready and has no execution")
    return Asked(
        the_plan.request,
        indices,
        the_plan.execution,
        the_plan.label_counts,
        resolved.model,
        fit_id=resolved.fit.id if resolved.fit else None,
        encoding_id=encoding.id if encoding else None,
    )


def rows_of_job(session: Session, tenant_id: str, body: PreviewRequest, settings: Settings) -> Asked:
    """The very rows of a job, which needs a plan but not to be over; what made them must still be there."""
    job = _planned_job(session, tenant_id, body.job or "")
    request = JobRequest.model_validate(job.request)
    _check_agreement(session, tenant_id, body, job, request, settings)
    model = session.get_one(ModelRow, job.model_id)
    fit = session.get_one(FitRow, job.fit_id) if job.fit_id else None
    encoding = session.get_one(EncodingRow, job.encoding_id) if job.encoding_id else None
    for row in (model, fit, encoding):
        if row is not None and row.deleted_at is not None:
            raise NotReady(
                f"{row.id}, which {job.id} is made from, was deleted; rows that are committed can still be read at "
                f"/v1/jobs/{job.id}/rows.",
                pointer="/job",
            )
    return Asked(
        request.model_copy(update={"include_latents": body.include_latents}),
        _indices(body, request.rows, f"{job.id} has {request.rows:,} rows"),
        Execution.model_validate(job.execution),
        job.label_counts,
        model,
        fit_id=job.fit_id,
        encoding_id=job.encoding_id,
        job_id=job.id,
    )


def check_media(asked: Asked, media_type: str, limits: LimitSettings) -> None:
    """Raises when these rows cannot be shown in this form."""
    manifest = models.manifest_of(asked.model)
    if media_type == PNG:
        if manifest.rows.kind != "image":
            raise NotAcceptable(
                f"The rows of {asked.model.id} are of kind {manifest.rows.kind}, and a PNG shows images: ask with "
                "Accept: application/json.",
                pointer="/model",
            )
        if asked.request.include_latents:
            raise InvalidRequest("A PNG shows no latents: leave this out.", pointer="/include_latents")
    most = limits.preview_pixels if media_type == PNG else limits.preview_values
    latents = manifest.latent.size if asked.request.include_latents else 0
    check_size(len(asked.indices), values_per_row(manifest) + latents, most, "/indices")


def check_size(rows: int, row_values: int, most: int, pointer: str) -> None:
    """Raises LimitExceeded where `rows` rows have more than `most` values."""
    if rows * row_values > most:
        raise LimitExceeded(
            f"{rows:,} rows have {rows * row_values:,} values; one answer shows {most:,}: ask for at most "
            f"{most // row_values:,} rows, or download the shards of a job.",
            pointer=pointer,
        )


def values_per_row(manifest: VaeManifest) -> int:
    """Numbers in one row as it is shown."""
    rows = manifest.rows
    return len(rows.columns) if rows.kind == "table" else prod(rows.shape)


def _named(resolved: Resolved) -> list[tuple[str, Any]]:
    named = (("/model", resolved.model), ("/strategy/fit", resolved.fit), ("/strategy/dataset", resolved.dataset))
    return [(pointer, row) for pointer, row in named if row is not None]


def _not_encoded(encoding: EncodingRow | None) -> NotReady:
    pointer = "/strategy/dataset"
    if encoding is None:
        return NotReady("The dataset's encoding was deleted in this moment; ask again.", pointer=pointer)
    if encoding.error is not None:
        return NotReady(f"The dataset could not be encoded: {encoding.error['detail']}", pointer=pointer)
    return NotReady(
        f"The dataset is being encoded under the model ({encoding.progress:.0%} done); ask again soon.", pointer=pointer
    )


def _indices(body: PreviewRequest, total: int | None, whose: str) -> tuple[int, ...]:
    """Which rows are shown: those of `indices`, else the first `rows`; all of them below `total` where there is one."""
    if body.indices is None:
        count = body.rows or min(DEFAULT_ROWS, total or DEFAULT_ROWS)
        if total is not None and count > total:
            raise InvalidRequest(f"{whose}; ask for at most so many.", pointer="/rows")
        return tuple(range(count))
    if body.rows is not None and body.rows != len(body.indices):
        raise InvalidRequest(
            f"rows is {body.rows}, but indices names {len(body.indices)} rows; leave rows out.", pointer="/rows"
        )
    for position, index in enumerate(body.indices):
        if total is not None and index >= total:
            raise InvalidRequest(f"{whose}, counted from 0; there is no row {index:,}.", pointer=f"/indices/{position}")
    return body.indices


def _planned_job(session: Session, tenant_id: str, reference: str) -> JobRow:
    try:
        job = find(session, JobRow, tenant_id, reference)
    except NotFound as error:
        raise NotFound(error.detail, pointer="/job") from error
    except Gone as error:
        raise NotReady(error.detail, pointer="/job") from error
    if job.execution is None:
        reason = f" ({job.state_reason})" if job.state_reason else ""
        raise NotReady(f"{job.id} is {job.state}{reason} and never began: its rows are not fixed.", pointer="/job")
    return job


def _check_agreement(
    session: Session, tenant_id: str, body: PreviewRequest, job: JobRow, request: JobRequest, settings: Settings
) -> None:
    """Raises where the preview says something else than the job whose rows it asks for."""
    if body.model is not None:
        model = find_needed(session, ModelRow, tenant_id, body.model, pointer="/model", lock=False)
        if model.id != job.model_id:
            raise InvalidRequest(f"{job.id} is made with {job.model_id}, not with {model.id}.", pointer="/model")
    for field, given, own in (("seed", body.seed, job.seed), ("output", body.output, request.output)):
        if given is not None and given != own:
            raise InvalidRequest(f"{job.id} has the {field} {own}; leave {field} out.", pointer=f"/{field}")
    if body.strategy is not None:
        meant = request.model_copy(update={"strategy": body.strategy})
        resolved = resolve(session, tenant_id, meant, settings.limits, lock=False)
        if plan_of(session, resolved, settings).request.strategy != request.strategy:
            raise InvalidRequest(f"{job.id} has another strategy; leave strategy out.", pointer="/strategy")
