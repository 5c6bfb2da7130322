"""Schemathesis over the OpenAPI document, against a real server: nothing happens that the document does not say.

It runs as the program that it is: examples of the document, boundary values, random requests valid and not, and chains
of requests that follow from each other. `schemathesis.toml` says what it cannot know.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from service.settings import DatabaseSettings
from tests.service import everything
from tests.service.conftest import serving
from tests.service.everything import Everything
from tests.service.schema_runs import answered, settings_of
from tests.service.steps import Server, Worker

# The bodies of these are made of the same parts as those of jobs and fits; boundary values of all take a minute.
MUCH_THE_SAME = ("plan_job", "create_fit", "create_preview", "create_report")
# What has no worker here, or is to come.
NEVER_WELL = {
    "GET /metrics", "GET /v1/jobs/{job}/archive", "GET /v1/jobs/{job}/rows", "POST /v1/previews",
}  # fmt: skip


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.full)])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path
) -> Iterator[Server]:
    """One whose clients never wait for long."""
    folder = tmp_path_factory.mktemp("service")
    shutil.copyfile(sqlite_template, folder / "latentmill.db")
    url = request.getfixturevalue("postgres_database") if request.param == "postgres" else None
    with serving(settings_of(folder, database=DatabaseSettings(url=url))) as running:
        yield running


@pytest.fixture
def there(client: httpx.Client, upload: Callable[..., httpx.Response], worker: Worker) -> Everything:
    return everything.made(client, upload, worker)


@pytest.mark.timeout(300)
def test_the_service_does_what_its_document_says(server: Server, api_key: str, there: Everything, tmp_path: Path):
    quick = ("--generation-deterministic", "--max-examples", "4")
    statuses = answered(server.url, api_key, there, tmp_path, *quick, without_boundaries=MUCH_THE_SAME)
    operations = {name for name, seen in statuses.items() if seen != {405}}
    assert len(operations) > 35
    assert {name for name in operations if not any(status < 300 for status in statuses[name])} == NEVER_WELL
    assert {200, 206, 401, 404, 409, 410, 415, 422} <= set().union(*statuses.values())


@pytest.mark.full
@pytest.mark.timeout(3000)
def test_it_does_so_for_many_requests(server: Server, api_key: str, there: Everything, tmp_path: Path):
    answered(server.url, api_key, there, tmp_path, "--seed", "1", "--max-examples", "40")
