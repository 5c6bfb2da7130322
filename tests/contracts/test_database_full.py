"""A database whose disk is full says so in its own words, and goes on when there is room."""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from latentmill.errors import DatabaseFull
from service.database import Database
from service.settings import Settings
from tests.conftest import settings_for
from tests.small_disk import fill, free, small_disk


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A small disk that the database can reach, whoever it runs as."""
    postgres = "postgres" in request.node.callspec.id
    where = request.getfixturevalue("postgres_server").folder if postgres else tmp_path
    with small_disk(where / "small", "8m") as folder:
        if postgres:
            os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
        yield folder
    folder.rmdir()


@pytest.fixture
def written(request: pytest.FixtureRequest, disk: Path, tmp_path: Path) -> Iterator[Database]:
    """A database with a table on that disk."""
    if "postgres" in request.node.callspec.id:
        server = request.getfixturevalue("postgres_server")
        database = Database(settings_for(tmp_path, server.create()))
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"CREATE TABLESPACE small LOCATION '{disk}'"))
            connection.execute(text("CREATE TABLE lines (line text) TABLESPACE small"))
    else:
        database = Database(Settings(data_dir=disk))
        with database.writing() as session:
            session.execute(text("CREATE TABLE lines (line text)"))
    yield database
    if "postgres" in request.node.callspec.id:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("DROP TABLE lines"))
            connection.execute(text("DROP TABLESPACE small"))
    database.dispose()


def add(database: Database, lines: int) -> None:
    with database.writing() as session:
        session.execute(text("INSERT INTO lines VALUES (:line)"), [{"line": os.urandom(2_000).hex()}] * lines)


def count(database: Database) -> int:
    with database.reading() as session:
        return int(session.execute(text("SELECT count(*) FROM lines")).scalar_one())


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_transaction_that_does_not_fit_is_undone_and_said(kind: str, written: Database, disk: Path) -> None:
    add(written, 10)
    fill(disk)
    with pytest.raises(DatabaseFull):
        add(written, 1_000)
    assert count(written) == 10
    free(disk)
    add(written, 100)
    assert count(written) == 110
