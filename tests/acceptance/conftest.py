"""The real stack: broker, API, beat and workers as processes, in a directory of their own."""

import json
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
KEPT = pytest.StashKey[Stack]()
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


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """One for all tests of this folder."""
    kept = request.config.stash
    if KEPT not in kept:
        environment = {**SHORT, "LATENTMILL_LOG__FORMAT": "json"}
        kept[KEPT] = Stack(data_dir=tmp_path_factory.mktemp("stack"), port=0, environment=environment)
        request.config.add_cleanup(kept[KEPT].stop)
        kept[KEPT].start()
    return kept[KEPT]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End the stack when the next test is another folder's: idle, it would cost a tenth of a core to the end."""
    if KEPT in item.config.stash and (nextitem is None or Path(__file__).parent not in nextitem.path.parents):
        item.config.stash[KEPT].stop()
        del item.config.stash[KEPT]


@pytest.fixture
def client(stack: Stack) -> Client:
    return Client(url=stack.url, api_key=stack.api_key)


@pytest.fixture
def demo_model(client: Client) -> Resource:
    """The demo's VAE, registered."""
    return client.models.add(DEMO_BUNDLE).wait()
