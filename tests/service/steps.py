"""The steps of a worker done by hand: a real claim, and the real commit that ends it."""

import hashlib
import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import select

from latentmill.errors import LatentmillError
from latentmill.specs import Execution, MeasuredExecution, VaeManifest
from service.database import Database
from service.datasets import operations as datasets
from service.dependencies import Services
from service.fits import encodings
from service.fits import operations as fits
from service.jobs import finalizing, shards
from service.models import operations as models
from service.previews import operations as previews
from service.reports import operations as reports
from service.reports.sources import ReportWork
from service.tables import WorkItemRow
from service.work import Claim, claim, workers

EXECUTION = Execution(
    device="cpu", device_name="a cpu", engine="torch", batch_rows=256, threads=1, versions={"torch": "2"}
)


def vae(**changes: Any) -> VaeManifest:
    given = {
        "name": "digits", "engine": "torch", "latent": {"shape": [2]}, "encoder": {"scale": "log_variance"},
        "rows": {"kind": "image", "shape": [1, 8, 8]}, "architecture": {"name": "mlp"},
    }  # fmt: skip
    return VaeManifest.model_validate(given | changes)


@dataclass
class Server:
    """The running service, and its parts for a look behind the scenes."""

    url: str
    port: int
    services: Services
    database: Database
    reads: list[float]  # the times at which reading transactions began


class Worker:
    """Does what a worker does, one step at a time: a real claim, and the commit that ends it."""

    def __init__(self, server: Server, tenant_id: str) -> None:
        self.server = server
        self.tenant_id = tenant_id
        self.outcomes = server.services.outcomes
        self.storage = server.services.storage
        self.database = server.database

    def items(self, kind: str, state: str = "pending") -> list[WorkItemRow]:
        with self.server.database.reading() as session:
            mine = select(WorkItemRow).where(
                WorkItemRow.tenant_id == self.tenant_id, WorkItemRow.kind == kind, WorkItemRow.state == state
            )
            return list(session.execute(mine.order_by(WorkItemRow.index, WorkItemRow.id)).scalars())

    def take(self, kind: str) -> Claim:
        item = self.items(kind)[0]
        with self.server.database.writing() as session:
            taken = claim(session, item.id, owner="by hand", lease_seconds=60)
        assert taken is not None
        self.database = self.server.database.on_behalf_of(taken.tenant_id, taken.request_id)
        return taken

    def announce(self, *queues: str) -> None:
        with self.server.database.writing() as session:
            workers.announce(session, name=f"w-{'-'.join(queues)}", device_kind="cpu", queues=list(queues), slots=1)

    def inspect(self, manifest: VaeManifest | None = None, **executions: MeasuredExecution) -> None:
        taken = self.take("inspect")
        measured = executions or {"cpu": MeasuredExecution(execution=EXECUTION, rows_per_s=10_000, bytes_per_row=64)}
        with self.database.writing() as session:
            assert models.inspection_of(session, taken).model_id == taken.subject_id
            models.commit_inspection(
                session, taken, manifest=manifest or vae(), executions=measured, warnings=["a warning"]
            )
            self.outcomes.settled(session, "model", taken.subject_id)

    def reject_model(self, error: LatentmillError) -> None:
        taken = self.take("inspect")
        with self.database.writing() as session:
            self.outcomes.delete_files(session, models.reject(session, taken, error.problem()))
            self.outcomes.settled(session, "model", taken.subject_id, error.problem())

    def read(
        self,
        rows: int = 100,
        shape: tuple[int, ...] = (8, 8),
        labels: dict[str, int] | None = None,
        columns: list[Any] | None = None,
    ) -> datasets.DatasetReading:
        taken = self.take("read")
        with self.database.writing() as session:
            reading = datasets.reading_of(session, taken)
            key = f"{taken.tenant_id}/datasets/{reading.dataset_id}/rows"
            self.storage.put_bytes(key, b"rows")
            uploads = datasets.commit_reading(
                session, taken, rows=rows, row_shape=shape, dtype="uint8", labels=labels, digest="d" * 64,
                columns=columns, layout=None, warnings=[], rows_key=key, labels_key=None, stored_bytes=4,
            )  # fmt: skip
            self.outcomes.delete_files(session, uploads)
            self.outcomes.settled(session, "dataset", taken.subject_id)
        return reading

    def encode(self) -> None:
        taken = self.take("encode")
        with self.database.writing() as session:
            asked = encodings.encoding_work_of(session, taken)
            key = f"{asked.tenant_id}/encodings/{asked.encoding_id}"
            self.storage.put_bytes(key, b"encoding")
            encodings.commit_encoding(
                session, taken, key=key, stored_bytes=8, rows=asked.rows, deterministic=False, warnings=[],
                execution=EXECUTION,
            )  # fmt: skip
            self.outcomes.settled(session, "encoding", taken.subject_id)

    def fit(self, parameters: bytes = b"parameters", **diagnostics: Any) -> None:
        taken = self.take("fit")
        with self.database.writing() as session:
            family = fits.fit_work_of(session, taken).request.family
        with self.database.writing() as session:
            self.outcomes.progressed(session, taken, 0.5)
        with self.database.writing() as session:
            fits.commit_fit(
                session, taken, family=family, parameters=parameters, parameters_key=None,
                stored_bytes=len(parameters),
                diagnostics={"gain": {"value": 1.5, "standard_error": 0.1}, **diagnostics}, warnings=[],
            )  # fmt: skip
            self.outcomes.settled(session, "fit", taken.subject_id)

    def report(self, content: dict[str, Any], page: bytes = b"<!doctype html>") -> ReportWork:
        taken = self.take("report")
        with self.database.writing() as session:
            asked = reports.report_work_of(session, taken)
        with self.database.writing() as session:
            self.outcomes.progressed(session, taken, 0.5)
        key = f"{asked.tenant_id}/reports/{asked.report_id}/page-{taken.fence}"
        self.storage.put_bytes(key, page)
        with self.database.writing() as session:
            reports.commit_report(
                session, taken, content=content, page_key=key, stored_bytes=len(page), warnings=["a warning"]
            )
            self.outcomes.settled(session, "report", taken.subject_id)
        return asked

    def shard(self, taken: Claim | None = None) -> shards.ShardWork:
        taken = taken or self.take("shard")
        with self.database.writing() as session:
            asked = shards.shard_work_of(session, taken)
        self.commit(taken, asked)
        return asked

    def commit(self, taken: Claim, asked: shards.ShardWork) -> None:
        data = shard_bytes(asked)
        sha256 = hashlib.sha256(data).hexdigest()
        key = f"{asked.tenant_id}/jobs/{asked.job_id}/{asked.index}-{taken.fence}-{sha256}"
        self.storage.put_bytes(key, data)
        with self.database.writing() as session:
            shards.commit_shard(
                session, taken, key=key, name=asked.name, bytes=len(data), sha256=sha256,
                execution=asked.execution, rows=asked.rows,
            )  # fmt: skip

    def finalize(self, taken: Claim | None = None) -> finalizing.Finalization:
        taken = taken or self.take("finalize")
        with self.database.writing() as session:
            asked = finalizing.finalization_of(session, taken)
        files = []
        for name, text in (
            ("manifest.json", json.dumps(asked.manifest)),
            ("SHA256SUMS", "sums"),
            ("README.md", "card"),
        ):
            data, key = text.encode(), f"{asked.folder}/{name}-{taken.fence}"
            self.storage.put_bytes(key, data)
            files.append(finalizing.StoredText(name, key, len(data), hashlib.sha256(data).hexdigest()))
        with self.database.writing() as session:
            finalizing.commit_finalize(session, taken, files=files)
            self.outcomes.settled(session, "job", taken.subject_id)
        return asked

    def preview(self, content: bytes = b"{}") -> Any:
        taken = self.take("preview")
        with self.database.writing() as session:
            asked = previews.preview_work_of(session, taken)
        with self.database.writing() as session:
            previews.commit_preview(session, taken, content=content)
        return asked

    def fail(self, kind: str, error: LatentmillError) -> None:
        taken = self.take(kind)
        with self.database.writing() as session:
            match kind:
                case "encode":
                    encodings.fail_encoding(session, taken, error.problem())
                    self.outcomes.settled(session, "encoding", taken.subject_id, error.problem())
                case "fit":
                    fits.fail_fit(session, taken, error.problem())
                    self.outcomes.settled(session, "fit", taken.subject_id, error.problem())
                case _:
                    self.outcomes.given_up(session, taken, error.problem())

    def stored_keys(self) -> list[str]:
        return [file.key for file in self.storage.list(self.tenant_id)]


def shard_bytes(asked: shards.ShardWork) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, rows=np.full((asked.rows, 4), asked.index, np.uint8))
    return buffer.getvalue()
