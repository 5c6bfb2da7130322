"""What one shard of a job waits out, as a full disk, the others would meet too: they wait with it, and go on with it.

Otherwise each of a thousand shards would be claimed, refused and handed back, again and again: logs and database would
grow with it, on that very disk.
"""

from typing import Any

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from latentmill.errors import Problem
from service.database import database_time
from service.work.claims import Claim
from service.work.tables import WAITING, WorkItemRow


def keep_waiting(session: Session, claim: Claim, *, waiting: Problem, delay_seconds: float) -> int:
    """The siblings of a claim that has just been handed back wait as long, and as often, as it does; how many."""
    return _change(
        session,
        claim,
        WorkItemRow.not_before < database_time(delay_seconds),
        not_before=database_time(delay_seconds),
        waits=claim.waits + 1,
        waiting=waiting.model_dump(mode="json"),
    )


def go_on(session: Session, claim: Claim) -> int:
    """What this claim had waited out is over: its siblings are due at once; how many had waited."""
    if claim.waits == 0:
        return 0
    return _change(session, claim, WorkItemRow.waiting.is_not(None), not_before=database_time(), waits=0, waiting=None)


def _change(session: Session, claim: Claim, which: ColumnElement[bool], **values: Any) -> int:
    # Never waits for a row: a cancel takes the same ones in another order.
    mine = select(WorkItemRow.id).where(
        WorkItemRow.job_id == claim.job_id,
        WorkItemRow.kind == claim.kind,
        WorkItemRow.id != claim.item_id,
        WAITING,
        which,
    )
    free = session.execute(mine.with_for_update(skip_locked=True)).scalars().all()
    session.execute(
        update(WorkItemRow).where(WorkItemRow.id.in_(free)).values(values).execution_options(synchronize_session=False)
    )
    return len(free)
