"""A session on behalf of a tenant reaches its rows and no others, whatever a statement forgets; on both databases."""

from collections.abc import Callable

import pytest
from sqlalchemy import Select, delete, exists, func, insert, select, text, union_all, update
from sqlalchemy.orm import Session, aliased

from service.database import Database, database_now, new_id
from service.tables import Base, KeyRow, TenantRow, WorkItemRow
from service.tenancy import OtherTenant, Owned
from service.work import NewItem, add, add_many
from service.work.upsert import upsert

Work = WorkItemRow
Other = aliased(WorkItemRow)


@pytest.fixture
def mine(any_database: Database, tenant: str, add_item: Callable[..., str]) -> Database:
    """The database on behalf of a tenant with one item, `job_mine`, beside `job_theirs` of somebody else."""
    add_item(subject_id="job_theirs")
    with any_database.writing() as session:
        session.add(TenantRow(id="ten_mine", name="me", created_at=database_now(session)))
    add_item(subject_id="job_mine", tenant_id="ten_mine")
    return any_database.on_behalf_of("ten_mine", "req_1")


def subjects(database: Database) -> set[str]:
    with database.reading() as session:
        return set(session.execute(select(Work.subject_id)).scalars())


READS: dict[str, Select] = {
    "columns": select(Work.subject_id),
    "a whole row": select(Work).with_only_columns(Work.subject_id),
    "an alias": select(Other.subject_id),
    "a join": select(Other.subject_id).join(Work, Other.subject_id != Work.subject_id),
    "an outer join": select(Other.subject_id).outerjoin(Work, Other.subject_id != Work.subject_id),
    "a subquery": select(Work.subject_id).where(Work.id.in_(select(Other.id))),
    "of a subquery": select(select(Work.subject_id).subquery().c.subject_id),
    "a CTE": select(select(Work.subject_id).cte("them").c.subject_id),
    "a union": union_all(select(Work.subject_id), select(Other.subject_id)),
    "an exists": select(Work.subject_id).where(exists().where(Other.subject_id == "job_theirs")),
    "a scalar subquery": select(select(func.max(Other.subject_id)).scalar_subquery()),
    "a lock": select(Work.subject_id).with_for_update(skip_locked=True),
    "by the tenant of others": select(Work.subject_id).where(Work.tenant_id != "ten_mine"),
    "tenants": select(TenantRow.id).where(TenantRow.id != "ten_mine"),
}


@pytest.mark.parametrize("name", READS)
def test_a_read_that_asks_for_everything_shows_its_own(mine, any_database, name):
    def shown(database: Database) -> set[str]:
        with database.writing() as session:
            return set(session.execute(READS[name]).scalars())

    assert shown(mine) <= {"job_mine"}
    assert shown(any_database) - {"job_mine"}, "which holds more than that"


def test_what_is_counted_and_got_is_its_own(mine, any_database):
    with any_database.reading() as session:
        theirs = session.execute(select(Work.id).where(Work.subject_id == "job_theirs")).scalar_one()
    with mine.reading() as session:
        assert session.execute(select(func.count()).where(Work.state == "pending")).scalar_one() == 1
        assert session.execute(select(func.count(Work.id))).scalar_one() == 1
        assert session.get(Work, theirs) is None
        assert session.query(Work).count() == 1
        assert not session.execute(select(exists().where(Work.subject_id == "job_theirs"))).scalar_one()


def test_a_change_of_everything_changes_its_own(mine, any_database):
    with mine.writing() as session:
        session.execute(update(Work).values(queue="changed"))
        session.execute(delete(Work).where(Work.id.in_(select(Other.id))).execution_options(synchronize_session=False))
    with any_database.reading() as session:
        assert session.execute(select(Work.subject_id, Work.queue)).all() == [("job_theirs", "compute.cpu")]


def test_its_own_rows_come_and_change_as_ever(mine):
    with mine.writing() as session:
        row = session.execute(select(Work)).scalar_one()
        row.queue = "prompt"
        made = add(session, tenant_id="ten_mine", kind="fit", queue="compute", subject_id="fit_1")
        assert made.request_id == "req_1"
        add_many(session, [NewItem("ten_mine", "shard", "compute", "job_2", index) for index in range(3)])
    with mine.writing() as session:
        assert session.execute(select(func.count(Work.id))).scalar_one() == 5
        seen = session.get_one(Work, made.id)
        assert session.get_one(Work, made.id, with_for_update={"key_share": True}) is seen
        session.refresh(seen)
        session.delete(seen)
    assert subjects(mine) == {"job_mine", "job_2"}


def insert_for_another(session: Session) -> None:
    add_many(session, [NewItem("ten_mine", "fit", "compute", "fit_1"), NewItem("ten_other", "fit", "compute", "fit_2")])


def add_anothers_row(session: Session) -> None:
    session.add(KeyRow(id=new_id("key"), tenant_id="ten_other", name="", scopes=[], digest="", created_at=None))
    session.flush()


def give_a_row_away(session: Session) -> None:
    session.execute(select(Work)).scalar_one().tenant_id = "ten_other"
    session.execute(select(TenantRow))  # an autoflush is a flush


REFUSED: dict[str, Callable[[Session], object]] = {
    "a bare table": lambda session: session.execute(select(Work.__table__.c.subject_id)),
    "a bare table in a subquery": lambda session: session.execute(
        select(Work.id).where(Work.id.in_(select(Work.__table__.c.id)))
    ),
    "a bare update": lambda session: session.execute(update(Work.__table__).values(queue="x")),
    "a bare delete": lambda session: session.execute(delete(Work.__table__)),
    "a text": lambda session: session.execute(text("SELECT subject_id FROM work_items")),
    "a text past the session": lambda session: session.connection().exec_driver_sql("DELETE FROM work_items"),
    "a text of whose": lambda session: session.execute(
        text("SELECT id FROM work_items WHERE work_items.tenant_id = 'ten_mine'")
    ),
    "a bulk update by key": lambda session: session.execute(update(Work), [{"id": "wrk_1", "queue": "x"}]),
    "an insert for another": insert_for_another,
    "an insert of nobody's": lambda session: session.execute(insert(Work), [{"id": "wrk_1", "queue": "x"}]),
    "an upsert": lambda session: session.execute(
        upsert(session, Work, keys={"id": "wrk_1"}, values={"queue": "x", "tenant_id": "ten_mine"})
    ),
    "another's row": add_anothers_row,
    "a row given away": give_a_row_away,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_might_reach_others_is_not_run(mine, any_database, name):
    def attempt() -> None:
        with mine.writing() as session:
            REFUSED[name](session)

    with pytest.raises(OtherTenant):
        attempt()
    with any_database.reading() as session:
        left = session.execute(select(Work.subject_id, Work.queue, Work.tenant_id != "ten_mine")).all()
    assert set(left) == {("job_theirs", "compute.cpu", True), ("job_mine", "compute.cpu", False)}


def test_without_a_tenant_all_rows_are_there(mine, any_database):
    assert subjects(mine) == {"job_mine"}, "on a connection that goes back to the pool"
    for _ in range(3):
        with any_database.writing() as session:
            assert session.execute(text("SELECT count(*) FROM work_items")).scalar_one() == 2


def test_every_table_with_a_tenant_is_kept_to_it():
    owned = {mapper.local_table.name for mapper in Base.registry.mappers if issubclass(mapper.class_, Owned)}
    assert owned == {"tenants"} | {table.name for table in Base.metadata.sorted_tables if "tenant_id" in table.columns}
    assert len(owned) > 10
