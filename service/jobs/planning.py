"""The plan of a job: under what execution it runs, in how many shards, and what that will take."""

from dataclasses import dataclass
from math import ceil, lcm, prod
from typing import Literal

from sqlalchemy.orm import Session

from latentmill.errors import LimitExceeded
from latentmill.specs import Execution, ExecutionRequest, JobRequest, MeasuredExecution, Rows, VaeManifest
from service.jobs.labels import label_plan
from service.jobs.resolution import Resolved, resolve
from service.limits import check_room, limits_of
from service.models import operations as models
from service.models.tables import ModelRow
from service.settings import Settings
from service.work import workers

NOISE_BLOCK_ROWS = 1024
SHARD_BYTES = 64 * 1024**2
SHARD_SECONDS = 30.0
UNMEASURED = "unmeasured"  # the device's name, until a worker has one
Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Plan:
    """What a job will do. What depends on something that is not ready yet is None."""

    request: JobRequest
    waiting_for: list[str]
    execution: Execution | None = None
    rows_per_s: float | None = None
    shard_rows: int | None = None
    shards_total: int | None = None
    label_counts: list[list[str | int]] | None = None
    estimated_bytes: int | None = None
    estimated_seconds: float | None = None


def plan(session: Session, tenant_id: str, request: JobRequest, settings: Settings) -> Plan:
    """What submitting `request` would make; changes nothing."""
    limits = limits_of(session, tenant_id, settings)
    planned = plan_of(session, resolve(session, tenant_id, request, limits, lock=False), settings)
    check_room(session, tenant_id, settings, adding=planned.estimated_bytes or 0, lock=False)
    return planned


def plan_of(session: Session, resolved: Resolved, settings: Settings) -> Plan:
    """The plan of a resolved request: whole when its model is ready, else what can be said so far."""
    request, model = resolved.request, resolved.model
    if model.state != "ready":
        return Plan(request, resolved.waiting_for())
    manifest = models.manifest_of(model)
    live = live_devices(session, settings)
    measured = execution_of(model, request.execution, live)
    execution = measured.execution
    labels = label_plan(request, manifest, resolved.fit, resolved.dataset)
    row_bytes = bytes_per_row(manifest, request, labelled=manifest.labels is not None or labels.choice is not None)
    most_shards = limits_of(session, model.tenant_id, settings).shards_per_job
    shard_rows = request.shard_rows
    if shard_rows is None:
        shard_rows = _shard_rows(request, execution.batch_rows, measured.rows_per_s, row_bytes, most_shards)
    _check_shards(request, shard_rows, row_bytes, most_shards, settings.limits.shard_bytes)
    resolved_request = request.model_copy(
        update={
            "strategy": request.strategy.model_copy(update={"labels": labels.choice}),
            "format": request.format or default_format(manifest.rows),
            "shard_rows": shard_rows,
            "execution": ExecutionRequest(device=execution.device, batch_rows=execution.batch_rows),
        }
    )
    return Plan(
        request=resolved_request,
        waiting_for=resolved.waiting_for(),
        execution=execution,
        rows_per_s=measured.rows_per_s,
        shard_rows=shard_rows,
        shards_total=ceil(request.rows / shard_rows),
        label_counts=labels.counts,
        estimated_bytes=request.rows * row_bytes,
        estimated_seconds=request.rows / (measured.rows_per_s * max(1, live.get(execution.device, 0))),
    )


def execution_of(model: ModelRow, asked: ExecutionRequest | None, live: dict[Device, int]) -> MeasuredExecution:
    """The execution for a ready model: as measured on the device that is asked for, or on the best that is there."""
    executions = models.executions_of(model)
    device = asked.device if asked is not None and asked.device is not None else _device(executions, live)
    measured = executions.get(device)
    if measured is None:
        # No worker with such a device has met the model. The job may wait for one; its shards will say what it was.
        other = next(iter(executions.values()))
        execution = other.execution.model_copy(update={"device": device, "device_name": UNMEASURED})
        measured = other.model_copy(update={"execution": execution})
    if asked is not None and asked.batch_rows is not None:
        execution = measured.execution.model_copy(update={"batch_rows": asked.batch_rows})
        measured = measured.model_copy(update={"execution": execution})
    return measured


def default_format(rows: Rows) -> Literal["npz", "parquet"]:
    """Tables are parquet, all else npz."""
    return "parquet" if rows.kind == "table" else "npz"


def bytes_per_row(manifest: VaeManifest, request: JobRequest, *, labelled: bool) -> int:
    """Bytes of one delivered row, before compression."""
    rows = manifest.rows
    if rows.kind == "table":
        size = 8 * len(rows.columns)
    else:
        size = prod(rows.shape) * (1 if rows.kind == "image" and rows.dtype == "uint8" else 4)
    return size + 4 * manifest.latent.size * request.include_latents + 4 * labelled


def _device(executions: dict[str, MeasuredExecution], live: dict[Device, int]) -> Device:
    devices: tuple[Device, ...] = ("cuda", "cpu")
    for device in devices:
        if device in live and device in executions:
            return device
    return "cpu" if "cpu" in executions else "cuda"


def live_devices(session: Session, settings: Settings) -> dict[Device, int]:
    """The devices of live workers that take shards, and how many shards at a time."""
    slots: dict[Device, int] = {}
    devices: tuple[Device, ...] = ("cpu", "cuda")
    for worker in workers.live_workers(session, seen_seconds=settings.work.worker_seen_seconds):
        for device in devices:
            if f"compute.{device}" in worker.queues:
                slots[device] = slots.get(device, 0) + worker.slots
    return slots


def _shard_rows(request: JobRequest, batch_rows: int, rows_per_s: float, row_bytes: int, most_shards: int) -> int:
    step = lcm(batch_rows, NOISE_BLOCK_ROWS)
    wanted = min(SHARD_BYTES / row_bytes, SHARD_SECONDS * rows_per_s)
    fewest = ceil(request.rows / most_shards / step)
    return min(max(1, int(wanted // step), fewest) * step, request.rows)


def _check_shards(request: JobRequest, shard_rows: int, row_bytes: int, most_shards: int, most_bytes: int) -> None:
    if ceil(request.rows / shard_rows) > most_shards:
        raise LimitExceeded(
            f"{ceil(request.rows / shard_rows):,} shards, at most {most_shards:,} (shards_per_job): ask for at least "
            f"{ceil(request.rows / most_shards):,} rows in a shard, or leave shard_rows out",
            pointer="/shard_rows",
        )
    if (size := min(shard_rows, request.rows) * row_bytes) > most_bytes:
        raise LimitExceeded(
            f"A shard would have {size:,} bytes, at most {most_bytes:,} (shard_bytes): ask for at most "
            f"{most_bytes // row_bytes:,} rows in a shard",
            pointer="/shard_rows",
        )
