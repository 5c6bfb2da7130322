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
TIMES = 300
PRIOR = {"kind": "prior"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load.tables", description=__doc__)
    parser.add_argument("--database", choices=KINDS, action="append", help="default: both, one after the other")
    asked = parser.parse_args()
    for kind in asked.database or KINDS:
        with place(kind) as where:
            print(f"{kind}: p50 / p99 in ms of {TIMES} requests, one after the other", flush=True)
            print("\n".join(measure(where)), flush=True)


def measure(where: Place) -> list[str]:
    """A line for each request: with two jobs in the table, then with many, then of the job with many shards."""
    small = where.client.jobs.create(where.model, strategy=PRIOR, rows=1000, shard_rows=500, name="small").wait()
    with _engine(where).begin() as connection:
        _add_jobs(connection, small.id, FEW)
    before = asyncio.run(_costs(where, small.id))
    large = where.client.jobs.create(where.model, strategy=PRIOR, rows=10, name="large").wait()
    with _engine(where).begin() as connection:
        _add_jobs(connection, small.id, JOBS)
        _enlarge(connection, large.id)
    many = asyncio.run(_costs(where, small.id))
    of_large = asyncio.run(_costs(where, large.id, "poll", "list of 20 shards"))
    titles = (f"{FEW} jobs", f"{JOBS:,} jobs", f"job of {SHARDS:,} shards")
    lines = [f"{'':20}" + "".join(f"{title:>32}" for title in titles)]
    for name in before:
        found = (before[name], many[name], of_large.get(name))
        lines.append(f"{name:20}" + "".join(f"{cost or '':>32}" for cost in found))
    return lines


@dataclass(frozen=True)
class Cost:
    """Milliseconds of a request: as its client sees it, and of the API's process alone."""

    p50: float
    p99: float
    cpu: float

    def __format__(self, spec: str) -> str:
        return format(f"{self.p50:.1f} / {self.p99:.1f}, CPU {self.cpu:.1f}", spec)


async def _costs(where: Place, job: str, *only: str) -> dict[str, Cost]:
    requests: dict[str, tuple[str, str, Any]] = {
        "poll": ("GET", f"/v1/jobs/{job}", None),
        "list of 20": ("GET", "/v1/jobs?limit=20", None),
        "list by state": ("GET", "/v1/jobs?limit=20&state=running", None),
        "list by model": ("GET", f"/v1/jobs?limit=20&model={where.model}", None),
        "list of 20 shards": ("GET", f"/v1/jobs/{job}/shards?limit=20", None),
        "limits": ("GET", "/v1/limits", None),
        "ready": ("GET", "/readyz", None),
        "submit": ("POST", "/v1/jobs", {"model": where.model, "strategy": PRIOR, "rows": 1}),
        "list of 20 at work": ("GET", "/v1/jobs?limit=20", None),  # those that were just submitted
    }
    async with Line(where.stack.url, where.stack.api_key) as line:
        asked = {name: request for name, request in requests.items() if not only or name in only}
        return {name: await _cost(where, line, *request) for name, request in asked.items()}


async def _cost(where: Place, line: Line, method: str, path: str, body: Any) -> Cost:
    seconds, cpu = [], where.cpu_seconds("api")
    for _ in range(TIMES):
        began = time.monotonic()
        reply = await line.ask(method, path, body)
        if reply.status not in {200, 202}:
            raise RuntimeError(f"{method} {path}: {reply.status} {reply.body[:300]!r}")
        seconds.append(time.monotonic() - began)
    cpu = (where.cpu_seconds("api") - cpu) / TIMES
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


def _enlarge(connection: Connection, job_id: str) -> None:
    """Make this job one with many shards, most of them committed."""
    mine = WorkItemRow.__table__.c.job_id == job_id
    shard = _row(connection, ShardRow.__table__, ShardRow.__table__.c.job_id == job_id)
    item = _row(connection, WorkItemRow.__table__, mine & (WorkItemRow.__table__.c.kind == "shard"))
    event = _row(connection, EventRow.__table__, EventRow.__table__.c.job_id == job_id)
    last = _row(connection, JobRow.__table__, JobRow.id == job_id)["event_number"]
    shards = [{**shard, "index": index, "first_row": 10 * index, "rows": 10} for index in range(1, COMMITTED)]
    connection.execute(insert(ShardRow.__table__), shards)
    events = [{**event, "kind": "shard", "number": last + number} for number in range(1, 2 * COMMITTED)]
    connection.execute(insert(EventRow.__table__), events)
    done = [{**item, "id": new_id("wrk"), "index": index} for index in range(1, COMMITTED)]
    free = {**item, "state": "pending", "finished_at": None, "published_at": None, "not_before": NEVER, "fence": 0}
    open_ = [{**free, "id": new_id("wrk"), "index": index} for index in range(COMMITTED, COMMITTED + PENDING)]
    connection.execute(insert(WorkItemRow.__table__), [*done, *open_])
    connection.execute(
        JobRow.__table__.update().where(JobRow.id == job_id).values(
            state="running", finished_at=None, rows_total=10 * SHARDS, rows_done=10 * COMMITTED, shards_total=SHARDS,
            shards_done=COMMITTED, shard_rows=10, next_shard=SHARDS, open_shards=PENDING,
            event_number=last + 2 * COMMITTED - 1, files={},
        )
    )  # fmt: skip


def _row(connection: Connection, table: Any, where: Any) -> dict[str, Any]:
    return dict(connection.execute(select(table).where(where).limit(1)).mappings().one())


if __name__ == "__main__":
    main()
