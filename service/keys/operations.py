"""Making, checking, rotating and ending API keys: `lm_<id>_<secret>`, of which only a keyed hash is stored."""

import hashlib
import hmac
import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import bindparam, case, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from latentmill.errors import Conflict, NotAllowed, NotAuthenticated, NotFound
from service.database import ROW_LOCK, database_now, database_time, new_id
from service.keys.tables import KeyRow, TenantRow

DEFAULT_TENANT = "default"
SECRET_ALPHABET = string.ascii_letters + string.digits
SECRET_CHARACTERS = 43  # 256 bits
NO_DIGEST = "0" * 64  # what a key that does not exist is compared with: it takes as long as any other

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "write", "admin")
DEFAULT_SCOPES: tuple[Scope, ...] = ("read", "write")
READING = frozenset({"GET", "HEAD", "OPTIONS"})
CHANGES_NOTHING = frozenset({"/v1/jobs/plan"})  # a POST for the sake of its body

KEY_BY_ID = (
    select(
        KeyRow.id,
        KeyRow.tenant_id,
        TenantRow.name.label("tenant"),
        KeyRow.scopes,
        KeyRow.digest,
        KeyRow.revoked_at,
        KeyRow.expires_at,
        case((KeyRow.expires_at <= database_time(), True), else_=False).label("expired"),
    )
    .join(TenantRow, KeyRow.tenant_id == TenantRow.id)
    .where(KeyRow.id == bindparam("key_id"))
)


@dataclass(frozen=True)
class Caller:
    """Who makes a request: a key, the tenant that it speaks for, and what it may do."""

    tenant_id: str
    tenant: str  # its name
    key_id: str
    scopes: frozenset[str]

    def require(self, scope: Scope) -> None:
        """Raises NotAllowed when the key lacks this scope."""
        if scope not in self.scopes:
            raise NotAllowed(
                f"This needs a key with the scope {scope}; this one has {', '.join(sorted(self.scopes)) or 'none'}. "
                f"`latentmill keys create --scope {scope}` makes one."
            )


@dataclass(frozen=True)
class NewKey:
    """A key that was just made; `text` is shown once and stored nowhere."""

    row: KeyRow
    text: str


@dataclass(frozen=True)
class ListedKey:
    """A key as an operator sees it."""

    row: KeyRow
    tenant: str
    state: str


def scope_for(method: str, path: str) -> Scope:
    """What a key must be allowed to do for such a request. Whatever is not known to read, writes."""
    return "read" if method in READING or path in CHANGES_NOTHING else "write"


def create(
    session: Session,
    *,
    pepper: bytes,
    tenant: str = DEFAULT_TENANT,
    name: str = "",
    scopes: Iterable[str] = DEFAULT_SCOPES,
    lifetime: timedelta | None = None,
) -> NewKey:
    """A new key of the tenant with this name, which is made when there is none."""
    return _made(session, _tenant(session, tenant).id, pepper=pepper, name=name, scopes=scopes, lifetime=lifetime)


def authenticate(session: Session, text: str, *, pepper: bytes) -> Caller:
    """Whose key `text` is; NotAuthenticated when it is nobody's, revoked or expired."""
    prefix, _, rest = text.partition("_")
    number, _, secret = rest.partition("_")
    # Postgres refuses a NUL in a parameter, and no key has anything but these characters.
    well_formed = prefix == "lm" and rest.isascii() and rest.replace("_", "").isalnum()
    found = session.execute(KEY_BY_ID, {"key_id": f"key_{number}"}).one_or_none() if well_formed else None
    matches = hmac.compare_digest(_digest(pepper, secret), found.digest if found is not None else NO_DIGEST)
    if found is None or not matches or found.revoked_at is not None:
        raise NotAuthenticated(
            "This API key is not valid here; `latentmill keys create` makes one, LATENTMILL_API_KEY passes it on"
        )
    if found.expired:
        raise NotAuthenticated(
            f"This API key ({found.id}) expired at {found.expires_at:%Y-%m-%d %H:%M} UTC; `latentmill keys create` "
            "makes another"
        )
    return Caller(found.tenant_id, found.tenant, found.id, frozenset(found.scopes))


def rotate(
    session: Session,
    key_id: str,
    *,
    pepper: bytes,
    overlap: timedelta = timedelta(),
    lifetime: timedelta | None = None,
) -> NewKey:
    """A new key in the place of this one: of the same tenant, name, scopes and, unless told, lifetime.

    The old one still works for `overlap`, so that those who use it can change over; without an overlap it ends now.
    """
    old, now = _found(session, key_id), database_now(session)
    if (state := _state(old, now)) != "live":
        raise Conflict(
            f"{key_id} is {state}: only a live key can be rotated; `latentmill keys create` makes a new one."
        )
    if lifetime is None and old.expires_at is not None:
        lifetime = old.expires_at - old.created_at
    made = _made(session, old.tenant_id, pepper=pepper, name=old.name, scopes=old.scopes, lifetime=lifetime)
    if overlap:
        old.expires_at = min(old.expires_at or now + overlap, now + overlap)
    else:
        old.revoked_at = now
    return made


def revoke(session: Session, key_id: str) -> KeyRow:
    """End the key at once; doing so again changes nothing."""
    row = _found(session, key_id)
    row.revoked_at = row.revoked_at or database_now(session)
    return row


def list_keys(session: Session) -> list[ListedKey]:
    """All keys with their tenants, newest first."""
    statement = select(KeyRow, TenantRow.name).join(TenantRow, KeyRow.tenant_id == TenantRow.id)
    now = database_now(session)
    keys = session.execute(statement.order_by(KeyRow.id.desc()))
    return [ListedKey(key, tenant, _state(key, now)) for key, tenant in keys]


def _state(key: KeyRow, now: datetime) -> Literal["live", "expired", "revoked"]:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "live"


def _found(session: Session, key_id: str) -> KeyRow:
    row = session.get(KeyRow, key_id, with_for_update=ROW_LOCK)
    if row is None:
        raise NotFound(f"There is no key {key_id}; `latentmill keys list` shows them.")
    return row


def _made(
    session: Session,
    tenant_id: str,
    *,
    pepper: bytes,
    name: str,
    scopes: Iterable[str],
    lifetime: timedelta | None,
) -> NewKey:
    secret = "".join(secrets.choice(SECRET_ALPHABET) for _ in range(SECRET_CHARACTERS))
    asked, now = set(scopes), database_now(session)
    row = KeyRow(
        id=new_id("key"),
        tenant_id=tenant_id,
        name=name,
        scopes=[scope for scope in SCOPES if scope in asked or "admin" in asked],
        digest=_digest(pepper, secret),
        created_at=now,
        expires_at=now + lifetime if lifetime is not None else None,
    )
    session.add(row)
    session.flush()
    return NewKey(row, f"lm_{row.id.removeprefix('key_')}_{secret}")


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
