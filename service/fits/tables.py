"""The tables of fits and of the encodings that they are made from."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base
from service.resources import ResourceColumns, unique_among_undeleted
from service.tenancy import Owned


class EncodingRow(Owned, Base):
    """The posteriors of a dataset's rows under a model; made once, on demand.

    queued -> running -> ready | failed; failed -> queued when it is needed again.
    """

    __tablename__ = "encodings"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    model_id: Mapped[str] = mapped_column(String(40), ForeignKey("models.id"))
    dataset_id: Mapped[str] = mapped_column(String(40), ForeignKey("datasets.id"))
    state: Mapped[str] = mapped_column(String(16))
    error: Mapped[dict[str, Any] | None]
    warnings: Mapped[list[str]]
    progress: Mapped[float]
    key: Mapped[str | None] = mapped_column(String(255))
    stored_bytes: Mapped[int | None] = mapped_column(BigInteger)
    rows: Mapped[int | None] = mapped_column(BigInteger)
    deterministic: Mapped[bool | None]
    execution: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        unique_among_undeleted("uq_encodings_pair", "tenant_id", "model_id", "dataset_id"),
        Index("ix_encodings_dataset", "dataset_id"),
        Index("ix_encodings_model", "model_id"),
    )


class FitRow(ResourceColumns, Base):
    """An aggregate posterior fitted to an encoding. queued -> running -> ready | failed; failed -> queued."""

    __tablename__ = "fits"

    request_digest: Mapped[str] = mapped_column(String(64))  # of the request and the fitting code's version
    request: Mapped[dict[str, Any]]  # with ids in place of names
    state_reason: Mapped[str | None] = mapped_column(String(1024))
    model_id: Mapped[str] = mapped_column(String(40), ForeignKey("models.id"))
    dataset_id: Mapped[str] = mapped_column(String(40), ForeignKey("datasets.id"))
    encoding_id: Mapped[str] = mapped_column(String(40), ForeignKey("encodings.id"))
    family: Mapped[dict[str, Any]]  # as asked, then as resolved
    progress: Mapped[float]
    diagnostics: Mapped[dict[str, Any] | None]
    parameters: Mapped[bytes | None]  # safetensors, where it is small
    parameters_key: Mapped[str | None] = mapped_column(String(255))  # in storage, where it is not
    stored_bytes: Mapped[int | None] = mapped_column(BigInteger)  # of the parameters, wherever they are
    parameters_digest: Mapped[str | None] = mapped_column(String(64))
    started_at: Mapped[datetime | None]

    __table_args__ = (
        unique_among_undeleted("uq_fits_name", "tenant_id", "name"),
        unique_among_undeleted("uq_fits_request", "tenant_id", "request_digest"),
        Index("ix_fits_tenant", "tenant_id", "id"),
        Index("ix_fits_model", "model_id"),
        Index("ix_fits_dataset", "dataset_id"),
    )
