"""Uploads: a bundle is inspected, a file of rows is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.datasets import operations as datasets
from service.limits import check_room
from service.models import operations as models
from service.work import Claim
from workers.devices import DeviceKind
from workers.models.inspection import inspect_bundle
from workers.readers import ReadLimits, read_dataset
from workers.steps.step import Check, put_hashed

if TYPE_CHECKING:
    from workers.workshop import Workshop


def inspect_model(shop: Workshop, claim: Claim, check: Check) -> None:
    """An uploaded bundle: can it be opened and run, and how fast on the devices that are here?"""
    with shop.database.writing() as session:
        work = models.inspection_of(session, claim)
    with shop.storage.as_file(work.key) as path:
        devices: list[DeviceKind] = ["cpu"] if shop.device == "cpu" else ["cpu", shop.device]
        inspection = inspect_bundle(path, devices=devices, threads=shop.threads, limits=shop.bundle_limits)
    check()
    with shop.database.writing() as session:
        models.commit_inspection(
            session,
            claim,
            manifest=inspection.manifest,
            executions=inspection.executions,
            warnings=inspection.warnings,
        )
        shop.outcomes.settled(session, "model", work.model_id)


def read_upload(shop: Workshop, claim: Claim, check: Check) -> None:
    """An uploaded file becomes rows that can be mapped into memory."""
    with shop.database.writing() as session:
        work = datasets.reading_of(session, claim)
    limits = ReadLimits(
        rows=shop.settings.limits.rows_per_dataset, decompressed_bytes=shop.settings.limits.decompressed_bytes
    )
    with (
        shop.scratch.folder() as folder,
        shop.storage.as_file(work.key) as path,
        shop.optional_file(work.labels_key) as labels_path,
    ):
        content = read_dataset(
            path,
            work.filename,
            kind=work.kind,
            label_column=work.label_column,
            labels_path=labels_path,
            labels_filename=work.labels_filename,
            out_dir=folder,
            limits=limits,
        )
        check()
        rows = put_hashed(shop, claim, "datasets", content.rows_path)
        labels = put_hashed(shop, claim, "datasets", content.labels_path) if content.labels_path else None
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
            columns=content.columns,
            rows_key=rows.key,
            labels_key=labels.key if labels else None,
            stored_bytes=sum(file.size_bytes for file in stored),
        )
        shop.outcomes.delete_files(session, uploads)
        shop.outcomes.settled(session, "dataset", work.dataset_id)
        check_room(session, claim.tenant_id, shop.settings)
