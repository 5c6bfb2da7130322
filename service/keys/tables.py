"""The tables of tenants and their API keys."""

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, synonym

from service.database import Base
from service.tenancy import Owned


class TenantRow(Owned, Base):
    """Whose everything is: no row is seen by another tenant's key."""

    __tablename__ = "tenants"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = synonym("id")
    name: Mapped[str] = mapped_column(String(128), unique=True)
    created_at: Mapped[datetime]


class KeyRow(Owned, Base):
    """An API key: what is public of it, and a keyed hash of what is not."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(40), ForeignKey("tenants.id"), index=True)
    name: Mapped[str] = mapped_column(String(128))
    scopes: Mapped[list[str]]  # read, write, admin
    digest: Mapped[str] = mapped_column(String(64))  # HMAC-SHA256 of the secret, hex
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
