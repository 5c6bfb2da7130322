"""The note that the broker is away, so that whatever waits for it can say so; it ends by itself, as a lock does."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from latentmill.errors import BrokerFault
from service.database import database_time
from service.work.tables import LockRow
from service.work.upsert import upsert

NOTE = "broker_fault"
DETAIL_LENGTH = 200


def note_fault(session: Session, fault: BrokerFault, *, seconds: float) -> None:
    """The broker did not answer; so it is taken to be away for so long, unless it answers before."""
    values = {"owner": fault.detail[:DETAIL_LENGTH], "until": database_time(seconds)}
    session.execute(upsert(session, LockRow, keys={"name": NOTE}, values=values))


def noted_fault(session: Session) -> str | None:
    """What the broker's last fault was, while it is away."""
    noted = select(LockRow.owner).where(LockRow.name == NOTE, LockRow.until > database_time())
    return session.execute(noted).scalar_one_or_none()


def forget_fault(session: Session) -> None:
    """The broker has answered."""
    session.execute(delete(LockRow).where(LockRow.name == NOTE))
