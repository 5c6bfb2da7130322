"""Every table of the service: importing this fills `Base.metadata`, as migrations and their tests need it."""

from service.database import Base
from service.datasets.tables import DatasetRow
from service.fits.tables import EncodingRow, FitRow
from service.idempotency.tables import IdempotencyRow
from service.jobs.tables import EventRow, JobRow, ShardRow
from service.keys.tables import KeyRow, TenantRow
from service.models.tables import ModelRow
from service.previews.tables import PreviewRow
from service.reports.tables import ReportRow
from service.work.tables import LockRow, NeedRow, WorkerRow, WorkItemRow

__all__ = [
    "Base",
    "DatasetRow",
    "EncodingRow",
    "EventRow",
    "FitRow",
    "IdempotencyRow",
    "JobRow",
    "KeyRow",
    "LockRow",
    "ModelRow",
    "NeedRow",
    "PreviewRow",
    "ReportRow",
    "ShardRow",
    "TenantRow",
    "WorkItemRow",
    "WorkerRow",
]
