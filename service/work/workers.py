"""The workers that are alive: they say so themselves, every few seconds."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from service.database import database_time
from service.work.tables import WorkerRow
from service.work.upsert import upsert


def announce(session: Session, *, name: str, device_kind: str, queues: list[str], slots: int) -> None:
    """The worker `name` lives, on a device of this kind, and takes `slots` items at a time from `queues`."""
    said = {"device_kind": device_kind, "queues": queues, "slots": slots, "seen_at": database_time()}
    once = {"started_at": database_time()}
    session.execute(upsert(session, WorkerRow, keys={"name": name}, values=said, once=once))


def depart(session: Session, *, name: str) -> None:
    """The worker `name` ends."""
    session.execute(delete(WorkerRow).where(WorkerRow.name == name))


def live_workers(session: Session, *, seen_seconds: float) -> list[WorkerRow]:
    """The workers that were seen within `seen_seconds`."""
    seen = select(WorkerRow).where(WorkerRow.seen_at >= database_time(-seen_seconds)).order_by(WorkerRow.name)
    return list(session.execute(seen).scalars())


def slots_of(session: Session, queue: str, *, seen_seconds: float) -> int:
    """How many items of `queue` the live workers can do at a time."""
    return sum(row.slots for row in live_workers(session, seen_seconds=seen_seconds) if queue in row.queues)


def forget_vanished(session: Session, *, seen_seconds: float) -> None:
    """Drop the workers that ended without saying so."""
    session.execute(delete(WorkerRow).where(WorkerRow.seen_at < database_time(-seen_seconds)))
