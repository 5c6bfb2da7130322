"""Making, checking and revoking API keys: `lm_<id>_<secret>`, of which only a keyed hash is stored."""

import hashlib
import hmac
import secrets
import string
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from latentmill.errors import NotAuthenticated, NotFound
from service.database import database_now, new_id
from service.keys.tables import KeyRow, TenantRow

DEFAULT_TENANT = "default"
SECRET_ALPHABET = string.ascii_letters + string.digits
SECRET_CHARACTERS = 43  # 256 bits


@dataclass(frozen=True)
class Caller:
    """Who makes a request: a key, and the tenant that it speaks for."""

    tenant_id: str
    tenant: str  # its name
    key_id: str
    admin: bool


@dataclass(frozen=True)
class NewKey:
    """A key that was just made; `text` is shown once and stored nowhere."""

    row: KeyRow
    text: str


def create(
    session: Session, *, pepper: bytes, tenant: str = DEFAULT_TENANT, name: str = "", admin: bool = False
) -> NewKey:
    """A new key of the tenant with this name, which is made when there is none."""
    owner = _tenant(session, tenant)
    secret = "".join(secrets.choice(SECRET_ALPHABET) for _ in range(SECRET_CHARACTERS))
    row = KeyRow(
        id=new_id("key"),
        tenant_id=owner.id,
        name=name,
        scopes=["read", "write", "admin"] if admin else ["read", "write"],
        digest=_digest(pepper, secret),
        created_at=database_now(session),
    )
    session.add(row)
    session.flush()
    return NewKey(row, f"lm_{row.id.removeprefix('key_')}_{secret}")


def authenticate(session: Session, text: str, *, pepper: bytes) -> Caller:
    """Whose key `text` is; NotAuthenticated when it is nobody's, or revoked."""
    prefix, _, rest = text.partition("_")
    number, _, secret = rest.partition("_")
    # Postgres refuses a NUL in a parameter, and no key has anything but these characters.
    known = prefix == "lm" and rest.isascii() and rest.replace("_", "").isalnum()
    owned = select(KeyRow, TenantRow.name).join(TenantRow, KeyRow.tenant_id == TenantRow.id)
    found = session.execute(owned.where(KeyRow.id == f"key_{number}")).one_or_none() if known else None
    row, tenant = found if found is not None else (None, "")
    matches = hmac.compare_digest(_digest(pepper, secret), row.digest if row is not None else "0" * 64)
    if row is None or not matches or row.revoked_at is not None:
        raise NotAuthenticated(
            "This API key is not valid here; `latentmill keys create` makes one, LATENTMILL_API_KEY passes it on"
        )
    return Caller(tenant_id=row.tenant_id, tenant=tenant, key_id=row.id, admin="admin" in row.scopes)


def revoke(session: Session, key_id: str) -> KeyRow:
    """End the key at once; doing so again changes nothing."""
    row = session.get(KeyRow, key_id)
    if row is None:
        raise NotFound(f"There is no key {key_id}")
    row.revoked_at = row.revoked_at or database_now(session)
    return row


def list_keys(session: Session) -> list[tuple[KeyRow, TenantRow]]:
    """All keys with their tenants, newest first."""
    statement = select(KeyRow, TenantRow).join(TenantRow, KeyRow.tenant_id == TenantRow.id).order_by(KeyRow.id.desc())
    return [(key, tenant) for key, tenant in session.execute(statement)]


def _tenant(session: Session, name: str) -> TenantRow:
    named = select(TenantRow).where(TenantRow.name == name)
    if (found := session.execute(named).scalar_one_or_none()) is not None:
        return found
    try:
        with session.begin_nested():
            session.add(tenant := TenantRow(id=new_id("ten"), name=name, created_at=database_now(session)))
        return tenant
    except IntegrityError:  # made by someone else in this moment
        return session.execute(named).scalar_one()


def _digest(pepper: bytes, secret: str) -> str:
    return hmac.new(pepper, secret.encode(), hashlib.sha256).hexdigest()
