"""What a list of jobs costs: as many statements for thirty jobs as for three, whatever keeps them waiting."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from latentmill.errors import StorageFull
from service.jobs.operations import NO_WORKER
from service.work import claim, hand_back
from tests.service.conftest import serving

JOB = {"model": "digits", "strategy": {"kind": "prior"}, "rows": 10}


@contextmanager
def noted_statements(server) -> Iterator[list[str]]:
    noted: list[str] = []

    def note(connection, cursor, statement, parameters, context, many):
        if statement.startswith("SELECT") and "api_keys" not in statement:
            noted.append(statement)

    event.listen(server.database.engine, "before_cursor_execute", note)
    try:
        yield noted
    finally:
        event.remove(server.database.engine, "before_cursor_execute", note)


@pytest.fixture
def server(broker_settings):
    """One of its own: other tests' requests would be counted too."""
    with serving(broker_settings) as running:
        yield running


@pytest.mark.parametrize("alive", [True, False])
def test_a_list_asks_as_much_for_many_jobs_as_for_few(server, client, model, worker, alive):
    if alive:
        worker.announce("compute.cpu")
    for _ in range(30):
        assert client.post("/v1/jobs", json=JOB).status_code == 202
    server.services.publisher.close()
    client.get("/v1/jobs?limit=3")
    counts = []
    for limit in (3, 30):
        with noted_statements(server) as noted:
            listed = client.get(f"/v1/jobs?limit={limit}").json()["data"]
        assert {job["state_reason"] for job in listed} == {None if alive else NO_WORKER}
        counts.append((len(listed), len(noted)))
    (_, few), (number, many) = counts
    assert (number, many) == (30, few)
    assert many <= 4


def test_each_job_of_a_list_says_what_it_waits_out_itself(server, client, model, worker):
    worker.announce("compute.cpu")
    waits = {None: [], "no room for it": [1], "no room for either": [0, 2]}
    expected = {}
    for reason, indices in waits.items():
        job = client.post("/v1/jobs", json=JOB | {"rows": 30, "shard_rows": 10}).json()["id"]
        expected[job] = f"storage_full: {reason}" if reason else None
        for item in worker.items("shard"):
            if item.job_id == job and item.index in indices:
                with worker.server.database.writing() as session:
                    taken = claim(session, item.id, owner="by hand", lease_seconds=60)
                    hand_back(session, taken, waiting=StorageFull(reason).problem(), delay_seconds=60)
    listed = {job["id"]: job["state_reason"] for job in client.get("/v1/jobs").json()["data"]}
    assert listed == expected
    assert {job: client.get(f"/v1/jobs/{job}").json()["state_reason"] for job in expected} == expected
