"""Where the service runs that is measured: a real stack, with SQLite or with Postgres under it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import psutil

from latentmill import Client
from latentmill.demo.run import BUNDLE
from latentmill.stack import Stack
from tests.postgres import running_postgres

DatabaseKind = Literal["sqlite", "postgres"]
KINDS: tuple[DatabaseKind, ...] = ("sqlite", "postgres")


@dataclass(frozen=True)
class Place:
    """A running stack, and a model in it."""

    stack: Stack
    client: Client
    model: str
    database_url: str

    def cpu_seconds(self, child: str) -> float:
        """Of a child of the stack and all its own, so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self.family(child))

    def family(self, child: str) -> list[psutil.Process]:
        process = psutil.Process(self.stack.pids[child])
        return [process, *process.children(recursive=True)]


@contextmanager
def place(kind: DatabaseKind) -> Iterator[Place]:
    """A stack on this kind of database, which keeps its commits."""
    with tempfile.TemporaryDirectory() as folder:
        if kind == "sqlite":
            with _stack(folder, {}, f"sqlite:///{folder}/latentmill.db") as running:
                yield running
        else:
            with running_postgres(durable=True) as server:
                url = server.create()
                with _stack(folder, {"LATENTMILL_DATABASE__URL": url}, url) as running:
                    yield running


@contextmanager
def _stack(folder: str, environment: dict[str, str], database_url: str) -> Iterator[Place]:
    with Stack(data_dir=folder, port=0, environment=environment) as stack:
        client = Client(url=stack.url, api_key=stack.api_key)
        model = client.models.add(BUNDLE).wait()
        yield Place(stack, client, model.id, database_url)
