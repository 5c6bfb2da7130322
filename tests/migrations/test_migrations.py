"""Migrations make what the code declares, on both databases, however many processes run them at once."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from service import migrate
from service.database import Database
from service.settings import DatabaseSettings, Settings
from service.tables import Base


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings with an empty database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        url = request.getfixturevalue("postgres_server").create()
    return Settings(data_dir=tmp_path, database=DatabaseSettings(url=url))


@pytest.fixture
def empty_database(empty: Settings) -> Iterator[Database]:
    database = Database(empty)
    yield database
    database.dispose()


def parts(statement: str) -> list[str]:
    """The columns and constraints of a CREATE TABLE, or an index as it stands."""
    unquoted = re.sub(r'^CREATE TABLE "(\w+)"', r"CREATE TABLE \1", statement)
    return [part for part in re.split(r",\s+|\s\(\s|\s+\)|\s*\n\s*", unquoted.strip()) if part]


def schema(connection: Connection) -> set[str]:
    """Every table's columns, keys and indexes with their conditions, in the database's own words."""
    if connection.dialect.name == "sqlite":
        statements = connection.execute(text("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")).scalars()
        # The parts of a table may stand in another order; one that was rebuilt has its name in quotes.
        return {str(sorted(parts(each))) for each in statements if "alembic_version" not in each}
    columns = connection.execute(
        text(
            "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default"
            " FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'"
        )
    )
    indexes = connection.execute(
        text("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'")
    )
    constraints = connection.execute(
        text(
            "SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'"
        )
    )
    return {str(tuple(row)) for rows in (columns, indexes, constraints) for row in rows}


def test_up_from_empty_is_what_the_code_declares(empty, empty_database):
    migrate.upgrade(empty)
    with empty_database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        migrated = schema(connection)
        connection.rollback()
        with connection.begin():
            Base.metadata.drop_all(connection)
            Base.metadata.create_all(connection)
            declared = schema(connection)
    assert migrated == declared
    assert len(migrated) > 20


def test_an_empty_database_has_no_revision_and_a_migrated_one_the_head(empty, empty_database):
    assert migrate.current(empty_database) is None
    migrate.upgrade(empty)
    assert migrate.current(empty_database) == migrate.head()
    migrate.upgrade(empty)  # nothing to do
    assert migrate.current(empty_database) == migrate.head()


def test_every_step_goes_both_ways(empty, empty_database):
    steps = list(ScriptDirectory.from_config(migrate.config_for()).walk_revisions())
    migrate.upgrade(empty)
    for step in steps:
        with empty_database.engine.begin() as connection:
            command.downgrade(migrate.config_for(connection), step.down_revision or "base")
        assert migrate.current(empty_database) == step.down_revision
    with empty_database.reading() as session:
        assert set(inspect(session.connection()).get_table_names()) <= {"alembic_version"}
    migrate.upgrade(empty)
    assert migrate.current(empty_database) == migrate.head()


def test_several_processes_may_migrate_at_once(empty, empty_database):
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(migrate.upgrade, [empty] * 3))
    assert migrate.current(empty_database) == migrate.head()


def test_migrations_that_take_longer_than_a_statement_may_wait_are_made(empty: Settings) -> None:
    hasty = empty.model_copy(update={"database": empty.database.model_copy(update={"busy_seconds": 0.02})})
    if hasty.database_url.startswith("sqlite"):
        migrate.upgrade(hasty)
    else:
        with ThreadPoolExecutor(3) as threads:  # and that wait for each other
            list(threads.map(migrate.upgrade, [hasty] * 3))
    database = Database(empty)
    assert migrate.current(database) == migrate.head()
    database.dispose()
