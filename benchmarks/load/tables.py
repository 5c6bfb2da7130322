"""`python -m benchmarks.load.tables`: what ten thousand jobs, and a job of ten thousand shards, do to latency."""

import argparse
import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import create_engine, insert, select
from sqlalchemy.engine import Connection, make_url

from benchmarks.load.line import Line
from benchmarks.load.places import KINDS, Place, place
from benchmarks.load.times import share_of
from service.database import new_id
from service.tables import EventRow, JobRow, ShardRow, WorkItemRow

FEW, JOBS = 30, 10_000
SHARDS, COMMITTED = 10_000, 9_000
PENDING = 1_000  # a job's shards become work items in pieces
NEVER = datetime(2100, 1, 1, tzinfo=UTC)  # when the pending ones are due: workers leave them alone
PRIOR = {"kind": "prior"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load.tables", description=__doc__)
    parser.add_argument("--database", choices=KINDS, action="append", help="default: both, one after the other")
    parser.add_argument("--times", type=int, default=300, help="requests of each kind, one after the other")
    asked = parser.parse_args()
    for kind in asked.database or KINDS:
        with place(kind) as where:
            print(
                f"{kind}: p50 / p99 in ms of {asked.times} requests, one after the other; CPU in ms of the API",
                flush=True,
            )
            print("\n".join(measure(where, asked.times)), flush=True)


def measure(where: Place, times: int) -> list[str]:
    """A line for each request: with few jobs in the table and with many; of a job with few shards and with many."""
    small = where.client.jobs.create(where.model, strategy=PRIOR, rows=1000, shard_rows=500, name="small").wait()
    short, large = (where.client.jobs.create(where.model, strategy=PRIOR, rows=10).wait() for _ in range(2))
    with _engine(where).begin() as connection:
        _add_jobs(connection, small.id, FEW)
        _enlarge(connection, short.id, committed=2, pending=2)
    few = asyncio.run(_costs(where, times, over=small.id, at_work=short.id))
    with _engine(where).begin() as connection:
        _add_jobs(connection, small.id, JOBS)
        _enlarge(connection, large.id, committed=COMMITTED, pending=PENDING)
    many = asyncio.run(_costs(where, times, over=small.id, at_work=large.id))
    lines = [f"{'':24}{f'{FEW} jobs, at work 4 shards':>32}{f'{JOBS:,} jobs, at work {SHARDS:,} shards':>40}"]
    return lines + [f"{name:24}{few[name]:>32}{many[name]:>40}" for name in few]


@dataclass(frozen=True)
class Cost:
    """Milliseconds of a request: as its client sees it, and of the API's process alone."""

    p50: float
    p99: float
    cpu: float

    def __format__(self, spec: str) -> str:
        return format(f"{self.p50:.1f} / {self.p99:.1f}, CPU {self.cpu:.1f}", spec)


async def _costs(where: Place, times: int, *, over: str, at_work: str) -> dict[str, Cost]:
    requests: dict[str, tuple[str, str, Any]] = {
        "poll, job is over": ("GET", f"/v1/jobs/{over}", None),
        "poll, job at work": ("GET", f"/v1/jobs/{at_work}", None),
        "list of 20": ("GET", "/v1/jobs?limit=20", None),
        "list by state": ("GET", "/v1/jobs?limit=20&state=running", None),
        "list by model": ("GET", f"/v1/jobs?limit=20&model={where.model}", None),
        "list of shards": ("GET", f"/v1/jobs/{at_work}/shards?limit=20", None),
        "limits": ("GET", "/v1/limits", None),
        "ready": ("GET", "/readyz", None),
        "submit": ("POST", "/v1/jobs", {"model": where.model, "strategy": PRIOR, "rows": 1}),
    }
    async with Line(where.stack.url, where.stack.api_key) as line:
        return {name: await _cost(where, line, times, *request) for name, request in requests.items()}


async def _cost(where: Place, line: Line, times: int, method: str, path: str, body: Any) -> Cost:
    seconds, cpu = [], where.cpu_seconds("api")
    for _ in range(times):
        began = time.monotonic()
        reply = await line.ask(method, path, body)
        if reply.status not in {200, 202}:
            raise RuntimeError(f"{method} {path}: {reply.status} {reply.body[:300]!r}")
        seconds.append(time.monotonic() - began)
    cpu = (where.cpu_seconds("api") - cpu) / times
    p50, p99 = (share_of(sorted(seconds), share) for share in (0.5, 0.99))
    return Cost(1000 * p50, 1000 * p99, 1000 * cpu)


def _engine(where: Place) -> Any:
    url = make_url(where.database_url)
    if url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    return create_engine(url, connect_args={"timeout": 60} if url.get_backend_name() == "sqlite" else {})


def _add_jobs(connection: Connection, template_id: str, number: int) -> None:
    """Jobs that are over, each with an event and a shard."""
    job = _row(connection, JobRow.__table__, JobRow.id == template_id)
    ids = [new_id("job") for _ in range(number)]
    connection.execute(insert(JobRow.__table__), [{**job, "id": job_id, "name": None} for job_id in ids])
    for table, key in ((EventRow.__table__, "number"), (ShardRow.__table__, "index")):
        row = _row(connection, table, table.c.job_id == template_id)
        connection.execute(insert(table), [{**row, "job_id": job_id, key: 1} for job_id in ids])


def _enlarge(connection: Connection, job_id: str, *, committed: int, pending: int) -> None:
    """Make this job one that is at work, with so many shards committed and so many to come."""
    mine = WorkItemRow.__table__.c.job_id == job_id
    shard = _row(connection, ShardRow.__table__, ShardRow.__table__.c.job_id == job_id)
    item = _row(connection, WorkItemRow.__table__, mine & (WorkItemRow.__table__.c.kind == "shard"))
    event = _row(connection, EventRow.__table__, EventRow.__table__.c.job_id == job_id)
    last = _row(connection, JobRow.__table__, JobRow.id == job_id)["event_number"]
    shards = [{**shard, "index": index, "first_row": 10 * index, "rows": 10} for index in range(1, committed)]
    connection.execute(insert(ShardRow.__table__), shards)
    events = [{**event, "kind": "shard", "number": last + number} for number in range(1, 2 * committed)]
    connection.execute(insert(EventRow.__table__), events)
    done = [{**item, "id": new_id("wrk"), "index": index} for index in range(1, committed)]
    free = {**item, "state": "pending", "finished_at": None, "published_at": None, "not_before": NEVER, "fence": 0}
    open_ = [{**free, "id": new_id("wrk"), "index": index} for index in range(committed, committed + pending)]
    connection.execute(insert(WorkItemRow.__table__), [*done, *open_])
    total = committed + pending
    connection.execute(
        JobRow.__table__.update().where(JobRow.id == job_id).values(
            state="running", finished_at=None, rows_total=10 * total, rows_done=10 * committed, shards_total=total,
            shards_done=committed, shard_rows=10, next_shard=total, open_shards=pending,
            event_number=last + 2 * committed - 1, files={},
        )
    )  # fmt: skip


def _row(connection: Connection, table: Any, where: Any) -> dict[str, Any]:
    return dict(connection.execute(select(table).where(where).limit(1)).mappings().one())


if __name__ == "__main__":
    main()
