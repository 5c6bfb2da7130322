"""A real server in a thread, and callers of it: each test has tenants of its own."""

import secrets
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from pydantic import SecretStr
from sqlalchemy import delete, event, select

from service.app import create_app
from service.database import Database
from service.keys import operations as keys
from service.settings import BrokerSettings, KeySettings, LimitSettings, Settings
from service.tables import TenantRow, WorkerRow
from tests.conftest import settings_for
from tests.service.steps import Server, Worker

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # to read the certificates of the system takes a client 20 ms


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, broker: str) -> Iterator[Server]:
    """One server for all tests: each has tenants of its own."""
    folder = tmp_path_factory.mktemp("service")
    shutil.copyfile(sqlite_template, folder / "latentmill.db")
    settings = Settings(
        data_dir=folder,
        broker=BrokerSettings(url=broker, key_prefix="tests of the service:"),
        limits=LimitSettings(upload_bytes=200_000, json_bytes=20_000, preview_seconds=1.5),
        keys=KeySettings(pepper=SecretStr("a pepper for tests")),
    )
    with serving(settings) as running:
        yield running


def noted_reads(database: Database) -> list[float]:
    """The times at which reading transactions begin. Listened for from before the first one on, and to the end:
    listeners that change while another thread goes through them are an error."""
    begun: list[float] = []

    @event.listens_for(database.engine, "begin")
    def begin(connection):
        if connection.get_execution_options().get("sqlite_readonly"):
            begun.append(time.monotonic())

    return begun


@contextmanager
def serving(settings: Settings) -> Iterator[Server]:
    app = create_app(settings)
    reads = noted_reads(app.state.services.database)
    running = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sends such at once
    listener.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while not running.started:
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.005)
        port = listener.getsockname()[1]
        yield Server(f"http://127.0.0.1:{port}", port, app.state.services, app.state.services.database, reads)
    finally:
        running.should_exit = True
        thread.join(10)
        listener.close()


@contextmanager
def serving_on(database: str, limits: LimitSettings, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with these limits on sqlite or postgres, for the tests of a file: each has tenants of its own."""
    folder = request.getfixturevalue("tmp_path_factory").mktemp(database)
    if database == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), folder / "latentmill.db")
        url = f"sqlite:///{folder / 'latentmill.db'}"
    else:
        url = request.getfixturevalue("postgres_database")
    settings = settings_for(folder, url).model_copy(update={"limits": limits})
    try:
        with serving(settings) as running:
            yield running
    finally:
        if database == "postgres":
            request.getfixturevalue("postgres_server").empty(url)


@pytest.fixture(scope="module")
def sqlite_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One server for all tests of a file, with the file's own LIMITS."""
    with serving_on("sqlite", request.module.LIMITS, request) as running:
        yield running


@pytest.fixture(scope="module")
def postgres_server_of_ours(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving_on("postgres", request.module.LIMITS, request) as running:
        yield running


# For a file whose `server` is one of these two.
both = pytest.mark.parametrize(
    "server", ["sqlite_server", "postgres_server_of_ours"], ids=["sqlite", "postgres"], indirect=True
)


@pytest.fixture
def tenant() -> str:
    """The name of this test's tenant."""
    return secrets.token_hex(8)


@pytest.fixture
def new_key(server: Server) -> Callable[[str], str]:
    """Makes a key of the tenant with this name."""

    def make(tenant: str) -> str:
        with server.database.writing() as session:
            return keys.create(session, pepper=server.services.pepper, tenant=tenant).text

    return make


@pytest.fixture
def api_key(new_key: Callable[[str], str], tenant: str) -> str:
    return new_key(tenant)


@pytest.fixture
def client(server: Server, api_key: str) -> Iterator[httpx.Client]:
    with _client(server, api_key) as made:
        yield made


@pytest.fixture
def stranger(server: Server, new_key: Callable[[str], str]) -> Iterator[httpx.Client]:
    """A caller of another tenant."""
    with _client(server, new_key(secrets.token_hex(8))) as made:
        yield made


def _client(server: Server, key: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=server.url, headers=headers, timeout=10, trust_env=False, verify=NO_TLS)


@pytest.fixture
def worker(server: Server, tenant: str, api_key: str) -> Iterator[Worker]:
    with server.database.reading() as session:
        tenant_id = session.execute(select(TenantRow.id).where(TenantRow.name == tenant)).scalar_one()
    yield Worker(server, tenant_id)
    with server.database.writing() as session:
        session.execute(delete(WorkerRow))


@pytest.fixture
def upload(client: httpx.Client) -> Callable[..., httpx.Response]:
    """Uploads some bytes as a model or a dataset."""

    def send(to: str, data: bytes = b"some bytes", filename: str = "a.bin", **fields: str) -> httpx.Response:
        return client.post(f"/v1/{to}", files={"file": (filename, data)}, data=fields)

    return send


@pytest.fixture
def model(upload: Callable[..., httpx.Response], worker: Worker) -> str:
    """A ready model called `digits`; its id."""
    made = upload("models", b"a bundle", "digits.vae.zip", name="digits").json()["id"]
    worker.inspect()
    return str(made)


@pytest.fixture
def dataset(upload: Callable[..., httpx.Response], worker: Worker) -> str:
    """A ready dataset of 100 rows called `train`; its id."""
    made = upload("datasets", b"rows", "train.npz", name="train").json()["id"]
    worker.read()
    return str(made)


@pytest.fixture
def fit(client: httpx.Client, model: str, dataset: str, worker: Worker) -> str:
    """A ready gaussian fit; its id."""
    body = {"model": model, "dataset": dataset, "family": {"kind": "gaussian"}}
    made = client.post("/v1/fits", json=body).json()["id"]
    worker.encode()
    worker.fit()
    return str(made)
