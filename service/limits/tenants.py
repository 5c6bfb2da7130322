"""Whose limits are whose, and the lock under which a tenant's things are counted."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.keys.tables import TenantRow
from service.settings import Settings, TenantLimits


def limits_of(session: Session, tenant_id: str, settings: Settings) -> TenantLimits:
    """The limits of this tenant."""
    if not settings.limits.tenants:
        return settings.limits
    return settings.limits.of(session.get_one(TenantRow, tenant_id).name)


def lock_tenant(session: Session, tenant_id: str) -> None:
    """From here to the end of the transaction nobody else counts what the tenant has.

    Whoever needs it takes it last, after the rows of models, datasets, encodings, fits, reports and jobs: in any
    other order a count and a settle wait for each other. SQLite has one writer at a time anyway.
    """
    # FOR NO KEY UPDATE, with which new rows of the tenant can still be inserted.
    locked = select(TenantRow.id).where(TenantRow.id == tenant_id).with_for_update(key_share=True)
    session.execute(locked).one()
