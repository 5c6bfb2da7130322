"""The table of reports."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base
from service.resources import ResourceColumns, unique_among_undeleted


class ReportRow(ResourceColumns, Base):
    """Candidates measured on a dataset under a model, and the one to use. queued -> running -> ready | failed."""

    __tablename__ = "reports"

    request: Mapped[dict[str, Any]]  # with ids in place of names
    model_id: Mapped[str] = mapped_column(String(40), ForeignKey("models.id"))
    dataset_id: Mapped[str] = mapped_column(String(40), ForeignKey("datasets.id"))
    reference_id: Mapped[str | None] = mapped_column(String(40), ForeignKey("datasets.id"))
    candidates: Mapped[list[Any] | None]  # as `PlannedCandidate`s, once the model's manifest is known
    progress: Mapped[float]  # of the measuring
    content: Mapped[dict[str, Any] | None]  # what was measured
    page_key: Mapped[str | None] = mapped_column(String(255))  # the same for people, in storage
    stored_bytes: Mapped[int | None] = mapped_column(BigInteger)  # of the page
    started_at: Mapped[datetime | None]

    __table_args__ = (
        unique_among_undeleted("uq_reports_name", "tenant_id", "name"),
        Index("ix_reports_tenant", "tenant_id", "id"),
        Index("ix_reports_pair", "model_id", "dataset_id", "id"),
        Index("ix_reports_dataset", "dataset_id"),
    )
