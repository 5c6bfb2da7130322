"""Migrations: bringing the database's tables to the version that this code was written for."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from service.database import Database, open_database
from service.settings import Settings

ADVISORY_LOCK = 0x6C6D696C  # on Postgres, while migrations run


def upgrade(settings: Settings) -> None:
    """Apply all migrations that the database lacks, in one transaction; safe when several processes do it at once."""
    with open_database(settings) as database, _migrating(database) as connection:
        command.upgrade(config_for(connection), "head")


@cache
def head() -> str:
    """The newest revision that this code knows."""
    revision = ScriptDirectory.from_config(config_for()).get_current_head()
    if revision is None:
        raise RuntimeError(f"no migrations in {_folder()}")
    return revision


def current(database: Database) -> str | None:
    """The revision that the database is at, None for an empty one."""
    with database.reading() as session:
        return MigrationContext.configure(session.connection()).get_current_revision()


def make_revision(settings: Settings, message: str) -> Path:
    """Write a revision with the difference between the tables in the code and the database, to be tidied by hand."""
    known = len(list(ScriptDirectory.from_config(config_for()).walk_revisions()))
    with open_database(settings) as database, _migrating(database) as connection:
        script = command.revision(config_for(connection), message=message, autogenerate=True, rev_id=f"{known + 1:04d}")
    if script is None or isinstance(script, list):
        raise RuntimeError("one revision was asked for")
    return Path(script.path)


def _folder() -> Path:
    """Where migrations lie: beside the repository's pyproject, else inside of the wheel."""
    package = Path(__file__).resolve().parent
    beside = package.parent / "migrations"
    if (package.parent / "pyproject.toml").is_file() and beside.is_dir():
        return beside
    return package / "_migrations"


def config_for(connection: Connection | None = None) -> Config:
    """Alembic's configuration: where the migrations lie, and the connection that they run over."""
    config = Config()
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.stdout = sys.stderr  # Alembic speaks of the files that it writes
    config.attributes["connection"] = connection
    return config


@contextmanager
def _migrating(database: Database) -> Iterator[Connection]:
    """One transaction for all migrations, which no other process's can enter."""
    with database.engine.connect() as connection:
        sqlite = connection.dialect.name == "sqlite"
        if sqlite:
            # A table that is rebuilt is dropped for a moment; the pragma does nothing inside of a transaction.
            connection.connection.driver_connection.execute("PRAGMA foreign_keys=OFF")  # type: ignore[union-attr]
        with connection.begin():
            if not sqlite:
                # It waits for another that migrates, and reads its scripts between two statements.
                for patience in ("idle_in_transaction_session_timeout", "lock_timeout"):
                    connection.execute(text(f"SET LOCAL {patience} = 0"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
            yield connection
            if sqlite and (broken := connection.execute(text("PRAGMA foreign_key_check")).fetchall()):
                raise RuntimeError(f"migrations left rows that name missing ones: {broken[:5]}")
