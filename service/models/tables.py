"""The table of models."""

from typing import Any

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base
from service.resources import ExpiringColumns, ResourceColumns, expiring, unique_among_undeleted


class ModelRow(ExpiringColumns, ResourceColumns, Base):
    """A registered VAE. inspecting -> ready | rejected; rejected -> inspecting when the same upload comes again."""

    __tablename__ = "models"

    request_digest: Mapped[str] = mapped_column(String(64))  # of bytes and name: the same request again
    digest: Mapped[str] = mapped_column(String(64))  # sha256 of the bundle
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    filename: Mapped[str] = mapped_column(String(255))
    key: Mapped[str | None] = mapped_column(String(255))  # the bundle in storage, while there is one
    manifest: Mapped[dict[str, Any] | None]
    executions: Mapped[dict[str, Any]]  # by device kind, as measured

    __table_args__ = (
        unique_among_undeleted("uq_models_name", "tenant_id", "name"),
        unique_among_undeleted("uq_models_request", "tenant_id", "request_digest"),
        Index("ix_models_tenant", "tenant_id", "id"),
        expiring("ix_models_expiring"),
    )
