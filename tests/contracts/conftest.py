"""What the suites over both databases share: a tenant, and items in it."""

from collections.abc import Callable

import pytest

from service.database import Database, database_now, new_id
from service.tables import TenantRow, WorkItemRow
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
