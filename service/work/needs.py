"""Who needs whom: the one table by which a resource waits for another, and by which a delete sees that it may not."""

from typing import Literal, NamedTuple, cast

from sqlalchemy import ColumnElement, Select, and_, delete, exists, select, tuple_, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.work.tables import NeedRow
from service.work.upsert import upsert

ResourceKind = Literal["model", "dataset", "encoding", "fit", "report", "job"]


class Resource(NamedTuple):
    """A resource by kind and id."""

    kind: ResourceKind
    id: str


Named = Resource | tuple[ResourceKind, str]


def need(session: Session, dependent: Named, needed: Named, *, settled: bool = False) -> None:
    """Record that `dependent` needs `needed`, and waits for it unless `settled`; doing so again (a retry) is fine.

    The caller holds a lock on the needed resource's row (`with_for_update(read=True)`): otherwise it may settle
    unseen between the look at its state and this.
    """
    keys = {
        "dependent_kind": dependent[0],
        "dependent_id": dependent[1],
        "needed_kind": needed[0],
        "needed_id": needed[1],
    }
    session.execute(upsert(session, NeedRow, keys=keys, values={"settled": settled, "live": True}))


def waiting_on(session: Session, dependent: Named) -> list[Resource]:
    """What `dependent` still waits for."""
    return _resources(
        session,
        select(NeedRow.needed_kind, NeedRow.needed_id)
        .where(_is_dependent(dependent), NeedRow.settled.is_(False))
        .order_by(NeedRow.needed_kind, NeedRow.needed_id),
    )


def settle(session: Session, needed: Named) -> list[Resource]:
    """`needed` is ready or has failed: the dependents that waited for it and now have nothing left to wait for.

    The caller holds the rows of the live dependents: everyone who ends a dependent locks its row before the rows
    here, and in the other order a cancel and a settle deadlock.
    """
    waiting = select(NeedRow.dependent_kind, NeedRow.dependent_id).where(
        _is_needed(needed), NeedRow.settled.is_(False), NeedRow.live.is_(True)
    )
    # Two needed ones that settle at the same time would each see the other as open, and nobody would start the
    # dependent: the second waits here for the first, and then sees what it did.
    locked = _resources(
        session,
        select(NeedRow.dependent_kind, NeedRow.dependent_id)
        .where(tuple_(NeedRow.dependent_kind, NeedRow.dependent_id).in_(waiting))
        .order_by(NeedRow.dependent_kind, NeedRow.dependent_id, NeedRow.needed_kind, NeedRow.needed_id)
        .with_for_update(),
    )
    session.execute(update(NeedRow).where(_is_needed(needed), NeedRow.live.is_(True)).values(settled=True))
    return [dependent for dependent in sorted(set(locked)) if not waiting_on(session, dependent)]


def dependents_of(session: Session, needed: Named, live_only: bool = True) -> list[Resource]:
    """Who needs `needed`; with `live_only` without those that have ended."""
    statement = (
        select(NeedRow.dependent_kind, NeedRow.dependent_id)
        .where(_is_needed(needed))
        .order_by(NeedRow.dependent_kind, NeedRow.dependent_id)
    )
    return _resources(session, statement.where(NeedRow.live.is_(True)) if live_only else statement)


def end(session: Session, dependent: Named) -> None:
    """`dependent` is ready, succeeded, failed or cancelled: what it needed may be deleted, but is still known."""
    session.execute(update(NeedRow).where(_is_dependent(dependent)).values(live=False, settled=True))


def forget(session: Session, dependent: Named) -> None:
    """`dependent` is deleted: it needs nothing any more."""
    session.execute(delete(NeedRow).where(_is_dependent(dependent)))


def is_in_use(kind: ResourceKind, resource_id: ColumnElement[str] | InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """That a live fit, report or job needs it; an encoding needs what it needs for those."""
    live = NeedRow.live.is_(True) & (NeedRow.dependent_kind != "encoding")
    return exists().where(NeedRow.needed_kind == kind, NeedRow.needed_id == resource_id, live)


def _is_dependent(dependent: Named) -> ColumnElement[bool]:
    return and_(NeedRow.dependent_kind == dependent[0], NeedRow.dependent_id == dependent[1])


def _is_needed(needed: Named) -> ColumnElement[bool]:
    return and_(NeedRow.needed_kind == needed[0], NeedRow.needed_id == needed[1])


def _resources(session: Session, statement: Select[str, str]) -> list[Resource]:
    return [Resource(cast(ResourceKind, kind), identity) for kind, identity in session.execute(statement)]
