"""The table of previews: what a waiting client asked for, and what a worker made of it."""

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base
from service.tenancy import Owned

PreviewKind = Literal["decoded", "stored"]  # made now, or read from a job's committed shards
PreviewState = Literal["queued", "ready", "failed", "cancelled"]


class PreviewRow(Owned, Base):
    """A few rows that a client waits for. No resource: nobody asks for it again, and it is dropped soon after.

    queued -> ready | failed | cancelled (no worker took it in time, or the client has gone).
    """

    __tablename__ = "previews"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[PreviewKind] = mapped_column(String(16))
    state: Mapped[PreviewState] = mapped_column(String(16))
    error: Mapped[dict[str, Any] | None]
    request: Mapped[dict[str, Any]]  # the job that these are rows of, real or not: ids for names, every choice made
    indices: Mapped[list[Any]]
    media_type: Mapped[str] = mapped_column(String(64))
    model_id: Mapped[str] = mapped_column(String(40), ForeignKey("models.id"))
    fit_id: Mapped[str | None] = mapped_column(String(40), ForeignKey("fits.id"))
    encoding_id: Mapped[str | None] = mapped_column(String(40), ForeignKey("encodings.id"))
    job_id: Mapped[str | None] = mapped_column(String(40), ForeignKey("jobs.id"))
    execution: Mapped[dict[str, Any]]
    label_counts: Mapped[list[Any] | None]  # [class, rows], over all rows of the request
    content: Mapped[bytes | None]  # the answer's body, of the media type
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]

    __table_args__ = (Index("ix_previews_created_at", "created_at"),)
