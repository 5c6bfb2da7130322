"""The database, SQLite or Postgres: its engine, its two kinds of transaction, its clock and its column types."""

import copy
import json
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from sqlalchemy import (
    JSON,
    URL,
    Connection,
    DateTime,
    Dialect,
    Engine,
    Float,
    MetaData,
    TypeDecorator,
    create_engine,
    event,
    literal,
    make_url,
    select,
)
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement

from latentmill.errors import DatabaseFault, DatabaseFull
from service.settings import Settings
from service.tenancy import TenantSession, keep_to_tenants

ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # sorted, so that ids sort as their numbers do


def new_id(prefix: str) -> str:
    """`prefix_` and 26 characters: 48 bits of milliseconds, then 80 random ones, so that later ids sort later."""
    number = (int(time.time() * 1000) << 80) | secrets.randbits(80)
    return f"{prefix}_" + "".join(ID_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time in UTC on both databases; SQLite keeps it as text of fixed width, so that it compares."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("times must be aware")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# Not JSONB: it reorders keys and refuses a NUL inside of a string.
Json = JSON(none_as_null=True)


class Base(DeclarativeBase):
    """What every table is made from; constraints have names, so that migrations can change them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: Json, list[str]: Json, list[Any]: Json}


class database_time(FunctionElement[datetime]):
    """The database's clock, `seconds` from now; it moves within a transaction."""

    type = UtcDateTime()
    name = "database_time"
    inherit_cache = True

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(literal(float(seconds), Float()))


@compiles(database_time, "postgresql")
def _postgres_time(element: "database_time", compiler: SQLCompiler, **options: Any) -> str:
    return f"(clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **options)}))"


@compiles(database_time, "sqlite")
def _sqlite_time(element: "database_time", compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {seconds} || ' seconds')"


def database_now(session: Session) -> datetime:
    """The time by the database's clock: the only one that leases are measured with."""
    return session.execute(select(database_time())).scalar_one()


# FOR NO KEY UPDATE, as an UPDATE does it. FOR UPDATE would also stop the check of a foreign key to the row, which a
# dependent's transaction makes while this one waits for the dependent: a deadlock.
ROW_LOCK = {"key_share": True}


class Database:
    """Connections to one database, and its two kinds of transaction."""

    def __init__(self, settings: Settings) -> None:
        url = make_url(settings.database_url)
        self.engine: Engine = _sqlite(url, settings) if url.get_backend_name() == "sqlite" else _postgres(url, settings)
        # A view of one moment, and a refusal to write by mistake.
        self._reading = self.engine.execution_options(
            **(
                {"sqlite_readonly": True}
                if self.engine.dialect.name == "sqlite"
                else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            )
        )
        # Requests that write at the same time; the others have connections left.
        self.writers = 2 if self.engine.dialect.name == "sqlite" else settings.database.connections
        self._errand: dict[str, str | None] = {}
        keep_to_tenants(self.engine)

    def on_behalf_of(self, tenant_id: str, request_id: str | None) -> Self:
        """The same database as a request of this tenant sees it: its rows alone. `session.info` names both."""
        scoped = copy.copy(self)
        scoped._errand = {"tenant_id": tenant_id, "request_id": request_id}
        return scoped

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction that commits at the end and is rolled back by any exception."""
        with _faults(), self._session(self.engine) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A consistent view of the database; changes are refused."""
        with _faults(), self._session(self._reading, autoflush=False) as session:
            yield session

    def _session(self, engine: Engine, *, autoflush: bool = True) -> Session:
        options: dict[str, Any] = {"expire_on_commit": False, "autoflush": autoflush, "info": self._errand}
        if tenant_id := self._errand.get("tenant_id"):
            return TenantSession(engine, tenant_id=tenant_id, **options)
        return Session(engine, **options)

    def dispose(self) -> None:
        """Close all connections."""
        self.engine.dispose()


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """The database for as long as the block runs."""
    database = Database(settings)
    try:
        yield database
    finally:
        database.dispose()


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        reason = getattr(error, "orig", None) or error
        if _is_full(reason):
            raise DatabaseFull from error
        raise DatabaseFault(f"The database did not answer: {str(reason).strip()}") from error
    except InternalError as error:
        if error.connection_invalidated:  # a transaction that did nothing for too long
            raise DatabaseFault(f"The database gave up on us: {str(error.orig).strip()}") from error
        raise


def _is_full(reason: object) -> bool:
    """Whether the disk of the database has no room: as SQLite says it, or Postgres (53100, disk_full)."""
    return (
        getattr(reason, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL or getattr(reason, "sqlstate", None) == "53100"
    )


def _to_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _postgres(url: URL, settings: Settings) -> Engine:
    busy_milliseconds = int(1000 * settings.database.busy_seconds)
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=settings.database.connections,
        max_overflow=settings.database.connections,
        pool_timeout=settings.database.busy_seconds,
        pool_pre_ping=True,
        json_serializer=_to_json,
        hide_parameters=True,  # in errors, which are logged: they are what users sent
        connect_args={
            "connect_timeout": 5,
            "application_name": "latentmill",
            # A server that vanished without a word would be waited for, for hours.
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": busy_milliseconds,
        },
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, record: Any) -> None:
        # A process that was stopped, or whose machine vanished, in the middle of a transaction would keep its locks,
        # and all others would wait for them.
        connection.execute(f"SET idle_in_transaction_session_timeout = {busy_milliseconds}")
        connection.execute(f"SET lock_timeout = {busy_milliseconds}")
        connection.commit()

    return engine


def _sqlite(url: URL, settings: Settings) -> Engine:
    """SQLite with a write-ahead log, every commit on the disk, and writers that queue from their first statement."""
    if url.database:
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseFault(f"There is no place for the database: {error}") from error
    engine = create_engine(
        url,
        pool_size=settings.database.connections,
        max_overflow=settings.database.connections,
        pool_timeout=settings.database.busy_seconds,
        json_serializer=_to_json,
        hide_parameters=True,  # in errors, which are logged: they are what users sent
        connect_args={"timeout": settings.database.busy_seconds, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say so, and not before the first change
        _keep_write_ahead_log(connection, settings.database.busy_seconds)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that reads first and then writes fails with `locked` whenever another one wrote.
        reads = connection.get_execution_options().get("sqlite_readonly", False)
        connection.exec_driver_sql(f"PRAGMA query_only={'ON' if reads else 'OFF'}")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _keep_write_ahead_log(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Switch a new file to the write-ahead log; SQLite itself does not wait when two processes do so at once."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
