"""What the service relies on in a database, on SQLite and on Postgres."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import InternalError

from latentmill.errors import DatabaseFault
from service.database import Database, database_now, database_time, new_id
from service.settings import Settings
from service.tables import LockRow, TenantRow

A_TIME = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def add_tenant(database: Database, name: str = "somebody") -> str:
    with database.writing() as session:
        tenant = TenantRow(id=new_id("ten"), name=name, created_at=A_TIME)
        session.add(tenant)
    return tenant.id


def names(database: Database) -> list[str]:
    with database.reading() as session:
        return list(session.execute(select(TenantRow.name).order_by(TenantRow.name)).scalars())


def test_a_transaction_commits_at_its_end_and_an_error_undoes_it(any_database):
    add_tenant(any_database, "kept")

    def break_off() -> None:
        with any_database.writing() as session:
            session.add(TenantRow(id=new_id("ten"), name="undone", created_at=A_TIME))
            session.flush()
            raise KeyError

    with pytest.raises(KeyError):
        break_off()
    assert names(any_database) == ["kept"]


def test_reading_refuses_changes(any_database):
    with pytest.raises((DatabaseFault, InternalError)), any_database.reading() as session:
        session.execute(text("DELETE FROM tenants"))
    add_tenant(any_database)  # and the connection is fit for writing afterwards
    assert names(any_database) == ["somebody"]


def test_reading_sees_one_moment(any_database):
    with any_database.reading() as session:
        before = session.execute(select(TenantRow.name)).scalars().all()
        add_tenant(any_database)
        after = session.execute(select(TenantRow.name)).scalars().all()
    assert before == after == []


def test_times_come_back_as_they_went(any_database):
    add_tenant(any_database)
    with any_database.reading() as session:
        assert session.execute(select(TenantRow.created_at)).scalar_one() == A_TIME
        early = select(TenantRow.id).where(TenantRow.created_at < A_TIME + timedelta(microseconds=1))
        late = select(TenantRow.id).where(TenantRow.created_at < A_TIME)
        assert len(session.execute(early).all()) == 1
        assert session.execute(late).all() == []


def test_a_naive_time_is_refused(any_database):
    with pytest.raises(Exception, match="times must be aware"), any_database.writing() as session:
        session.add(LockRow(name="x", owner="me", until=datetime(2026, 1, 1)))


def test_the_database_clock_moves_and_can_be_shifted(any_database):
    with any_database.writing() as session:
        first = database_now(session)
        threading.Event().wait(0.01)
        second = database_now(session)
        later = session.execute(select(database_time(90.5))).scalar_one()
        earlier = session.execute(select(database_time(-90.5))).scalar_one()
    assert first < second
    assert abs((first - datetime.now(UTC)).total_seconds()) < 5
    assert 90.5 <= (later - second).total_seconds() < 92
    assert -90.5 <= (earlier - second).total_seconds() < -89


def test_database_time_compares_with_stored_times(any_database):
    with any_database.writing() as session:
        session.add(LockRow(name="x", owner="me", until=database_time(1)))  # type: ignore[arg-type]
        session.flush()
        due = select(LockRow.name).where(LockRow.until <= database_time(1.5))
        not_due = select(LockRow.name).where(LockRow.until <= database_time(0.5))
        assert session.execute(due).scalars().all() == ["x"]
        assert session.execute(not_due).scalars().all() == []


def test_writers_that_read_first_queue_and_none_is_lost(any_database):
    with any_database.writing() as session:
        session.add(LockRow(name="0", owner="me", until=A_TIME))
    threads, rounds = 4, 15

    def count_up() -> None:
        for _ in range(rounds):
            with any_database.writing() as session:
                row = session.execute(select(LockRow).with_for_update()).scalar_one()
                seen = int(row.name)
                session.execute(update(LockRow).values(name=str(seen + 1)))

    running = [threading.Thread(target=count_up) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    with any_database.reading() as session:
        assert session.execute(select(LockRow.name)).scalar_one() == str(threads * rounds)


def test_a_database_that_is_away_is_a_database_fault(tmp_path, any_settings):
    url = "sqlite:////proc/nowhere/x.db" if "sqlite" in any_settings.database_url else "postgresql://u@/x?host=/nowhere"
    away = any_settings.model_copy(update={"database": any_settings.database.model_copy(update={"url": url})})
    with pytest.raises(DatabaseFault):
        open_and_ask(away)


def open_and_ask(settings: Settings) -> None:
    database = Database(settings)
    try:
        with database.reading() as session:
            session.execute(text("SELECT 1"))
    finally:
        database.dispose()


def test_ids_sort_by_time_and_differ():
    ids = [new_id("job") for _ in range(2000)]
    assert len(set(ids)) == len(ids)
    assert all(len(identity) == 30 and identity.startswith("job_") for identity in ids)
    early = new_id("job")
    threading.Event().wait(0.005)
    assert early < new_id("job")
