"""The table of datasets."""

from typing import Any

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base
from service.resources import ExpiringColumns, ResourceColumns, expiring, unique_among_undeleted


class DatasetRow(ExpiringColumns, ResourceColumns, Base):
    """Reference rows. reading -> ready | rejected; rejected -> reading when the same upload comes again."""

    __tablename__ = "datasets"

    request_digest: Mapped[str] = mapped_column(String(64))  # of bytes and options: the same request again
    kind: Mapped[str] = mapped_column(String(16))  # rows, latents
    filename: Mapped[str] = mapped_column(String(255))
    size_bytes: Mapped[int] = mapped_column(BigInteger)  # of the upload
    key: Mapped[str | None] = mapped_column(String(255))  # the uploaded file, while there is one
    labels_filename: Mapped[str | None] = mapped_column(String(255))
    labels_upload_key: Mapped[str | None] = mapped_column(String(255))
    label_column: Mapped[str | None] = mapped_column(String(128))
    model_id: Mapped[str | None] = mapped_column(String(40))  # whose columns the rows are read by

    # What reading found.
    digest: Mapped[str | None] = mapped_column(String(64))
    rows: Mapped[int | None] = mapped_column(BigInteger)
    row_shape: Mapped[list[Any] | None]
    dtype: Mapped[str | None] = mapped_column(String(32))
    columns: Mapped[list[Any] | None]
    layout: Mapped[str | None] = mapped_column(String(8))  # HWC: the channel axis of images comes last; null: unknown
    label_counts: Mapped[list[Any] | None]  # [class, rows] in the order of the classes' numbers
    rows_key: Mapped[str | None] = mapped_column(String(255))
    labels_key: Mapped[str | None] = mapped_column(String(255))
    stored_bytes: Mapped[int | None] = mapped_column(BigInteger)  # of both

    __table_args__ = (
        unique_among_undeleted("uq_datasets_name", "tenant_id", "name"),
        unique_among_undeleted("uq_datasets_request", "tenant_id", "request_digest"),
        Index("ix_datasets_tenant", "tenant_id", "id"),
        expiring("ix_datasets_expiring"),
    )
