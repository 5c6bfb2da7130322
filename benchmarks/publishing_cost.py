"""What a look for the next items costs with 100,000 waiting: `python -m benchmarks.publishing_cost`."""

import statistics
import tempfile
import time
from pathlib import Path

from sqlalchemy import insert, select

from service.database import Database, database_now
from service.migrate import upgrade
from service.queue import Queue
from service.settings import DatabaseSettings, Settings
from service.tables import TenantRow, WorkItemRow
from service.work import NewItem, Publisher, add_many, claim, finish, workers
from tests.postgres import running_postgres

QUEUE = "compute.cpu"
TIMES = 30
CASES = ((1, 10, 10), (1, 10_000, 10), (20, 10_000, 10), (1_000, 10_000, 10))  # tenants, jobs, shards of each


class Unsent(Queue):
    """A queue whose messages nobody needs: what the database does is measured."""

    def send(self, queue_name: str, kind: str, item_id: str) -> None:
        pass


def main() -> None:
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            measure(f"sqlite:///{folder}/latentmill.db", Path(folder), *case)
    with running_postgres(durable=True) as postgres:
        for case in CASES:
            with tempfile.TemporaryDirectory() as folder:
                measure(postgres.create(), Path(folder), *case)


def measure(url: str, folder: Path, tenants: int, jobs: int, shards: int) -> None:
    """Publish after each of a few finished items, as a worker does."""
    settings = Settings(data_dir=folder, database=DatabaseSettings(url=url))
    upgrade(settings)
    database = Database(settings)
    fill(database, tenants, jobs, shards)
    publisher = Publisher(database, Unsent(settings), settings)
    with database.writing() as session:
        workers.announce(session, name="w1", device_kind="cpu", queues=[QUEUE], slots=2)
    publisher.publish()
    seconds = []
    for _ in range(TIMES):
        finish_one(database)
        began = time.perf_counter()
        publisher.publish()
        seconds.append(time.perf_counter() - began)
    kind = database.engine.dialect.name
    database.dispose()
    print(
        f"{kind}, {tenants:,} tenants, {jobs * shards:,} items of {jobs:,} jobs: median "
        f"{1000 * statistics.median(seconds):.1f} ms, longest {1000 * max(seconds):.1f} ms"
    )


def fill(database: Database, tenants: int, jobs: int, shards: int) -> None:
    with database.writing() as session:
        now = database_now(session)
        names = [f"ten_{number}" for number in range(tenants)]
        session.execute(insert(TenantRow), [{"id": name, "name": name, "created_at": now} for name in names])
    for first in range(0, jobs, 500):
        numbers = range(first, min(first + 500, jobs))
        items = [
            NewItem(names[number % tenants], "shard", QUEUE, f"job_{number:06d}", index, f"job_{number:06d}")
            for number in numbers
            for index in range(shards)
        ]
        with database.writing() as session:
            add_many(session, items)


def finish_one(database: Database) -> None:
    published = select(WorkItemRow.id).where(WorkItemRow.state == "pending", WorkItemRow.published_at.is_not(None))
    with database.writing() as session:
        held = claim(session, session.execute(published.limit(1)).scalar_one(), owner="w1", lease_seconds=60)
        assert held is not None
        finish(session, held)


if __name__ == "__main__":
    main()
