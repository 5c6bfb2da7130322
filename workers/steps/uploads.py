"""Uploads: a bundle is inspected, a file of rows is read."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from latentmill.specs import MeasuredExecution
from service.datasets import operations as datasets
from service.limits import check_room
from service.models import operations as models
from service.work import Claim
from workers.models.inspection import measured_on, refuse_unmeasured
from workers.readers.source import ReadLimits
from workers.sandbox.bounds import SandboxBounds
from workers.sandbox.requests import InspectedBundle, InspectRequest, ReadRequest
from workers.steps.step import Check, put_hashed

if TYPE_CHECKING:
    from workers.workshop import Workshop

INSPECTION_WRITES_BYTES = 16 * 2**20  # nothing, in fact
HEADER_BYTES = 2**20  # what files may have beside their arrays


def inspect_model(shop: Workshop, claim: Claim, check: Check) -> None:
    """An uploaded bundle: can it be opened and run, and how fast on the devices that are here?"""
    with shop.database.writing() as session:
        work = models.inspection_of(session, claim)
    with shop.scratch.folder() as folder, shop.storage.as_file(work.key) as path:
        request = InspectRequest(
            path=path.absolute(),
            sha256=work.digest,
            folder=folder.absolute(),
            threads=shop.threads,
            limits=asdict(shop.bundle_limits),
            bounds=_bounds(shop, claim, threads=shop.threads, file_bytes=INSPECTION_WRITES_BYTES),
        )
        inspection = shop.sandbox.inspect(request, check=check)
        executions, warnings = _with_device(shop, path, work.digest, inspection)
    check()
    with shop.database.writing() as session:
        models.commit_inspection(session, claim, manifest=inspection.manifest, executions=executions, warnings=warnings)
        shop.outcomes.settled(session, "model", work.model_id)


def read_upload(shop: Workshop, claim: Claim, check: Check) -> None:
    """An uploaded file becomes rows that can be mapped into memory."""
    with shop.database.writing() as session:
        work = datasets.reading_of(session, claim)
    limits = shop.settings.limits
    with (
        shop.scratch.folder() as folder,
        shop.storage.as_file(work.key) as path,
        shop.optional_file(work.labels_key) as labels_path,
    ):
        shop.require_room(path.stat().st_size)  # at least
        request = ReadRequest(
            path=path.absolute(),
            filename=work.filename,
            dataset_kind=work.kind,
            label_column=work.label_column,
            labels_path=labels_path.absolute() if labels_path else None,
            labels_filename=work.labels_filename,
            table=work.table,
            folder=folder.absolute(),
            limits=asdict(ReadLimits(rows=limits.rows_per_dataset, decompressed_bytes=limits.decompressed_bytes)),
            bounds=_bounds(shop, claim, threads=1, file_bytes=limits.decompressed_bytes + HEADER_BYTES),
        )
        content = shop.sandbox.read(request, check=check)
        rows = put_hashed(shop, claim, "datasets", request.rows_path)
        labels = put_hashed(shop, claim, "datasets", request.classes_path) if content.labels is not None else None
    stored = [file for file in (rows, labels) if file is not None]
    with shop.publishing(*(file.key for file in stored)) as session:
        uploads = datasets.commit_reading(
            session,
            claim,
            rows=content.rows,
            row_shape=content.row_shape,
            dtype=content.dtype,
            labels=content.labels,
            digest=content.digest,
            layout=content.layout,
            warnings=content.warnings,
            columns=content.told_columns,
            rows_key=rows.key,
            labels_key=labels.key if labels else None,
            stored_bytes=sum(file.size_bytes for file in stored),
        )
        shop.outcomes.delete_files(session, uploads)
        shop.outcomes.settled(session, "dataset", work.dataset_id)
        check_room(session, claim.tenant_id, shop.settings)


def _bounds(shop: Workshop, claim: Claim, *, threads: int, file_bytes: int) -> SandboxBounds:
    times = shop.settings.time_limits
    return SandboxBounds(
        memory_bytes=shop.settings.sandbox.memory_bytes,
        seconds=times.of(claim.kind),
        seconds_setting=times.name_of(claim.kind),
        threads=threads,
        file_bytes=file_bytes,
    )


def _with_device(
    shop: Workshop, path: Path, sha256: str, inspection: InspectedBundle
) -> tuple[dict[str, MeasuredExecution], list[str]]:
    """What was measured on the CPU, and on the device of this worker: the process that inspects reaches no device."""
    executions = {"cpu": inspection.measured} if inspection.measured else {}
    warnings = list(inspection.warnings)
    if shop.device != "cpu":
        measured, more = measured_on(
            path, [shop.device], threads=shop.threads, limits=shop.bundle_limits, sha256=sha256
        )
        executions |= measured
        warnings += more
    refuse_unmeasured(executions, ["cpu"] if shop.device == "cpu" else ["cpu", shop.device])
    return executions, warnings
