"""What the suites over both databases share: a tenant, and items in it."""

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import product

import pytest
from sqlalchemy import select

from service.database import Database, database_now, new_id
from service.tables import LockRow, TenantRow, WorkItemRow
from service.work import Claim, add, claim

Add = Callable[..., str]


@pytest.fixture
def add_tenant(any_database: Database) -> Callable[[str], str]:
    """Adds a tenant of this name; its id."""

    def add_one(name: str) -> str:
        with any_database.writing() as session:
            session.add(row := TenantRow(id=new_id("ten"), name=name, created_at=database_now(session)))
        return row.id

    return add_one


@pytest.fixture
def own_logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For tests that set up the logs of this process as the service's processes do: all is as before, afterwards."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", root.handlers[:])
    monkeypatch.setattr(root, "level", root.level)
    yield
    logging.captureWarnings(False)


@pytest.fixture
def tenant(add_tenant: Callable[[str], str]) -> str:
    return add_tenant("somebody")


@pytest.fixture
def add_item(any_database: Database, tenant: str) -> Add:
    """Adds a pending item, a shard of job_1 unless told otherwise; its id."""

    def add_one(**changes) -> str:
        asked = {"tenant_id": tenant, "kind": "shard", "queue": "compute.cpu", "subject_id": "job_1", "index": 0}
        asked |= {"job_id": changes.get("subject_id", "job_1")} | changes
        with any_database.writing() as session:
            return add(session, **asked).id

    return add_one


@pytest.fixture
def claim_item(any_database: Database) -> Callable[..., Claim | None]:
    """Claims an item in a transaction of its own."""

    def claim_one(item_id: str, owner: str = "me", lease_seconds: float = 60.0) -> Claim | None:
        with any_database.writing() as session:
            return claim(session, item_id, owner=owner, lease_seconds=lease_seconds)

    return claim_one


@pytest.fixture
def item_row(any_database: Database) -> Callable[[str], WorkItemRow]:
    """The item as the database has it now."""

    def read(item_id: str) -> WorkItemRow:
        with any_database.reading() as session:
            return session.get_one(WorkItemRow, item_id)

    return read


@pytest.fixture
def pass_time(any_database: Database) -> Callable[[float], None]:
    """Lets so many seconds pass for all work: its times move back."""
    times = {WorkItemRow: ("not_before", "lease_until", "published_at", "finished_at"), LockRow: ("until",)}

    def pass_seconds(seconds: float) -> None:
        with any_database.writing() as session:
            for table, columns in times.items():
                for row, column in product(session.scalars(select(table)), columns):
                    if (time := getattr(row, column)) is not None:
                        setattr(row, column, time - timedelta(seconds=seconds))

    return pass_seconds
