"""The stacks that are broken, one on each database."""

from collections.abc import Iterator

import pytest

from latentmill.stack import Stack
from tests.faults.mill import SHORT, Mill
from tests.postgres import PostgresServer

SLOTS = 2  # two processes share every job


@pytest.fixture(scope="module")
def sqlite_mill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mill]:
    with Stack(data_dir=tmp_path_factory.mktemp("sqlite"), port=0, workers=SLOTS, environment=SHORT) as stack:
        mill = Mill(stack)
        yield mill
        mill.close()


@pytest.fixture(scope="module")
def postgres_mill(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[Mill]:
    url = postgres_server.create()
    environment = {**SHORT, "LATENTMILL_DATABASE__URL": url}
    with Stack(data_dir=tmp_path_factory.mktemp("postgres"), port=0, workers=SLOTS, environment=environment) as stack:
        mill = Mill(stack, postgres_server, url)
        yield mill
        mill.close()
