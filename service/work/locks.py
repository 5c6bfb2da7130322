"""Locks by name in the database, which end by themselves when their holder vanishes."""

from sqlalchemy import delete, or_
from sqlalchemy.orm import Session

from service.database import database_time
from service.work.tables import LockRow
from service.work.upsert import upsert


def take(session: Session, name: str, *, owner: str, seconds: float) -> bool:
    """Whether `owner` holds the lock now, for so long; taking it again extends it."""
    taken = session.execute(
        upsert(
            session,
            LockRow,
            keys={"name": name},
            values={"owner": owner, "until": database_time(seconds)},
            where=or_(LockRow.owner == owner, LockRow.until <= database_time()),
        ).returning(LockRow.name)
    )
    return taken.one_or_none() is not None


def release(session: Session, name: str, *, owner: str) -> None:
    """Give the lock up, if `owner` still holds it."""
    session.execute(delete(LockRow).where(LockRow.name == name, LockRow.owner == owner))
