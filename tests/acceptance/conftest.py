"""The real stack: broker, API, beat and workers as processes, in a directory of their own."""

from collections.abc import Iterator

import pytest

from latentmill import Client
from latentmill.stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(data_dir=tmp_path_factory.mktemp("stack"), port=0) as running:
        yield running


@pytest.fixture
def client(stack: Stack) -> Client:
    return Client(url=stack.url, api_key=stack.api_key)
