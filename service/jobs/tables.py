"""The tables of jobs, their committed shards and their events."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base
from service.resources import ExpiringColumns, ResourceColumns, expiring, unique_among_undeleted
from service.tenancy import Owned


class JobRow(ExpiringColumns, ResourceColumns, Base):
    """One request for N rows. Its states and their order stand in `states.py`."""

    __tablename__ = "jobs"

    request: Mapped[dict[str, Any]]  # resolved: ids in place of names, every choice made
    state_reason: Mapped[str | None] = mapped_column(String(1024))
    model_id: Mapped[str] = mapped_column(String(40), ForeignKey("models.id"))
    fit_id: Mapped[str | None] = mapped_column(String(40), ForeignKey("fits.id"))
    encoding_id: Mapped[str | None] = mapped_column(String(40), ForeignKey("encodings.id"))
    report_id: Mapped[str | None] = mapped_column(String(40))  # whose recommendation the strategy `auto` was
    seed: Mapped[int] = mapped_column(BigInteger)
    priority: Mapped[int]

    # The plan: made when all that the job needs is ready.
    execution: Mapped[dict[str, Any] | None]
    rows_per_s: Mapped[float | None]  # as measured for the execution
    shard_rows: Mapped[int | None] = mapped_column(BigInteger)
    shards_total: Mapped[int | None]
    label_counts: Mapped[list[Any] | None]  # [class, rows]
    planned_bytes: Mapped[int | None] = mapped_column(BigInteger)  # of all rows, before compression

    # Counters: every change of the job or of a shard first changes `revision`, which locks the row.
    revision: Mapped[int]
    rows_total: Mapped[int] = mapped_column(BigInteger)
    rows_done: Mapped[int] = mapped_column(BigInteger)
    rows_before: Mapped[int] = mapped_column(BigInteger)  # committed before the present run began
    shards_done: Mapped[int]
    bytes_done: Mapped[int] = mapped_column(BigInteger)
    next_shard: Mapped[int]  # shards from here on have no work item yet
    open_shards: Mapped[int]  # shards with a live work item
    event_number: Mapped[int]
    progress_at: Mapped[datetime | None]  # of the newest commit

    executions: Mapped[list[Any]]  # those that shards were really made under
    files: Mapped[dict[str, Any]]  # name -> key, bytes, sha256 of manifest.json, SHA256SUMS, README.md

    queued_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]

    __table_args__ = (
        unique_among_undeleted("uq_jobs_name", "tenant_id", "name"),
        Index("ix_jobs_tenant", "tenant_id", "id"),
        expiring("ix_jobs_expiring"),
        Index("ix_jobs_tenant_state", "tenant_id", "state", "id"),
        Index("ix_jobs_tenant_model", "tenant_id", "model_id", "id"),
        Index("ix_jobs_state", "state"),
    )


class ShardRow(Owned, Base):
    """A committed shard: one output file, one range of rows. A shard that is not committed has no row."""

    __tablename__ = "shards"

    job_id: Mapped[str] = mapped_column(String(40), ForeignKey("jobs.id"), primary_key=True)
    index: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    fence: Mapped[int]  # of the claim that committed it
    key: Mapped[str] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(String(64))
    first_row: Mapped[int] = mapped_column(BigInteger)
    rows: Mapped[int] = mapped_column(BigInteger)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    execution: Mapped[int]  # its place in the job's `executions`
    committed_at: Mapped[datetime]


class EventRow(Owned, Base):
    """Something that happened to a job; numbers start at 1 and have no gaps."""

    __tablename__ = "job_events"

    job_id: Mapped[str] = mapped_column(String(40), ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(16))  # state, shard, progress
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
