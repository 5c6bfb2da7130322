"""The tables of work: items that workers claim, who needs whom, the workers that are alive, and locks."""

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base
from service.tenancy import Owned

Kind = Literal["inspect", "read", "encode", "fit", "report", "shard", "finalize", "preview"]
State = Literal["pending", "leased", "done", "failed", "cancelled"]

# Conditions are written out: with parameters in them the planners do not find the partial indexes.
LIVE = text("state IN ('pending', 'leased')")
LIVE_WHOLE = text("state IN ('pending', 'leased') AND \"index\" IS NULL")
WAITING = text("state = 'pending' AND published_at IS NULL")
LEASED = text("state = 'leased'")
PUBLISHED = text("state = 'pending' AND published_at IS NOT NULL")
BUSY = text("(state = 'leased' OR (state = 'pending' AND published_at IS NOT NULL))")


class WorkItemRow(Owned, Base):
    """One thing that one worker does, and who holds it until when.

    pending -> leased -> done | failed | pending (handed back, or its lease ran out); pending -> cancelled.
    """

    __tablename__ = "work_items"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[Kind] = mapped_column(String(16))
    queue: Mapped[str] = mapped_column(String(32))
    subject_id: Mapped[str] = mapped_column(String(40))  # the resource that the item works for
    index: Mapped[int | None]  # a shard's number
    job_id: Mapped[str | None] = mapped_column(String(40))
    priority: Mapped[int]  # a higher one goes first
    state: Mapped[State] = mapped_column(String(16))
    owner: Mapped[str | None] = mapped_column(String(200))
    fence: Mapped[int]  # rises with every claim; only the holder of the newest may change the item
    lease_until: Mapped[datetime | None]
    attempts: Mapped[int]  # claims so far
    lost: Mapped[int]  # of these, ended by a lease that ran out
    out_of_memory: Mapped[int]
    not_before: Mapped[datetime]
    published_at: Mapped[datetime | None]  # a message is on its way
    published_times: Mapped[int]  # since the last claim
    stop_requested: Mapped[bool]
    waiting: Mapped[dict[str, Any] | None]  # the problem that it waits out
    waits: Mapped[int]  # in a row: each is longer than the one before
    request_id: Mapped[str | None] = mapped_column(String(64))  # of the request that it comes from
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "uq_work_items_live",
            "kind",
            "subject_id",
            "index",
            unique=True,
            sqlite_where=LIVE,
            postgresql_where=LIVE,
        ),
        # NULLs differ from each other in a unique index: items without a number need an index of their own.
        Index(
            "uq_work_items_live_whole",
            "kind",
            "subject_id",
            unique=True,
            sqlite_where=LIVE_WHOLE,
            postgresql_where=LIVE_WHOLE,
        ),
        Index(
            "ix_work_items_waiting",
            "queue",
            "tenant_id",
            "priority",
            "index",
            "created_at",
            "kind",
            "subject_id",
            sqlite_where=WAITING,
            postgresql_where=WAITING,
        ),
        Index("ix_work_items_busy", "tenant_id", "subject_id", sqlite_where=BUSY, postgresql_where=BUSY),
        Index("ix_work_items_lease", "lease_until", sqlite_where=LEASED, postgresql_where=LEASED),
        Index("ix_work_items_job", "job_id", "state"),
        Index("ix_work_items_subject", "subject_id"),
        Index("ix_work_items_finished", "finished_at"),
    )


class NeedRow(Base):
    """That one resource needs another, until it is forgotten."""

    __tablename__ = "needs"

    dependent_kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    dependent_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    needed_kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    needed_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    settled: Mapped[bool]  # the needed one has become ready or has failed: nothing to wait for any more
    live: Mapped[bool]  # the dependent has not ended: the needed one may not be deleted

    __table_args__ = (Index("ix_needs_needed", "needed_kind", "needed_id"),)


class WorkerRow(Base):
    """A worker that said that it lives, and how many items it does at a time."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    device_kind: Mapped[str] = mapped_column(String(16))
    queues: Mapped[list[str]]
    slots: Mapped[int]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]


class LockRow(Base):
    """A lock by name that ends by itself when its holder vanishes."""

    __tablename__ = "locks"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(String(200))
    until: Mapped[datetime]
