"""The real stack: broker, API, beat and workers as processes, in a directory of their own."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import latentmill
from latentmill import Client
from latentmill.resources.resource import Resource
from latentmill.stack import Stack

DEMO_BUNDLE = Path(latentmill.__file__).parent / "demo" / "digits.vae.zip"
TENANTS = {
    "bounded": {"running_jobs": 1, "stored_bytes": 400_000, "requests_per_second": 20, "request_burst": 5},
}
SHORT = {  # seconds: what a killed process held is taken back soon
    "LATENTMILL_WORK__LEASE_SECONDS": "3",
    "LATENTMILL_WORK__HEARTBEAT_SECONDS": "0.5",
    "LATENTMILL_WORK__STOP_POLL_SECONDS": "0.1",
    "LATENTMILL_WORK__SWEEP_SECONDS": "0.3",
    "LATENTMILL_WORK__LOST_DELAY_SECONDS": "0.1",
    "LATENTMILL_WORK__REPUBLISH_SECONDS": "3",
    "LATENTMILL_RETENTION__LOOK_SECONDS": "0.3",
    "LATENTMILL_LIMITS__TENANTS": json.dumps(TENANTS),
}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    environment = {**SHORT, "LATENTMILL_LOG__FORMAT": "json"}
    with Stack(data_dir=tmp_path_factory.mktemp("stack"), port=0, environment=environment) as running:
        yield running


@pytest.fixture
def client(stack: Stack) -> Client:
    return Client(url=stack.url, api_key=stack.api_key)


@pytest.fixture
def demo_model(client: Client) -> Resource:
    """The demo's VAE, registered."""
    return client.models.add(DEMO_BUNDLE).wait()
