"""What every resource has in the database: owner, unique name, state, error, and a mark when it is deleted."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

UNDELETED = text("deleted_at IS NULL")


class ResourceColumns:
    """The columns of every resource. Its row outlives its deletion, so that its address can answer 410."""

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(40), ForeignKey("tenants.id"))
    name: Mapped[str | None] = mapped_column(String(128))
    state: Mapped[str] = mapped_column(String(16))
    error: Mapped[dict[str, Any] | None]
    warnings: Mapped[list[str]]
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata")
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]


def unique_among_undeleted(name: str, *columns: str) -> Index:
    """A unique index over `columns` of the rows that are not deleted."""
    return Index(name, *columns, unique=True, sqlite_where=UNDELETED, postgresql_where=UNDELETED)
