"""A tenant that may run two jobs at a time: the others wait, say why, and begin by themselves."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from latentmill.errors import DataError
from service.database import Database
from service.limits import begun_jobs
from service.outcomes import Outcomes
from service.settings import LimitSettings
from service.tables import JobRow
from service.work import claim
from tests.service.conftest import both

LIMITS = LimitSettings(running_jobs=2)


@pytest.fixture
def server(request):
    """One of SQLite for all tests; for those marked `both` one of each kind."""
    return request.getfixturevalue(getattr(request, "param", "sqlite_server"))


@pytest.fixture
def ask(client, model):
    def submit(**more) -> str:
        body = {"model": model, "strategy": {"kind": "prior"}, "rows": 10, **more}
        answer = client.post("/v1/jobs", json=body)
        assert answer.status_code == 202
        return answer.json()["id"]

    return submit


@pytest.fixture
def waiting(client):
    """The jobs that say that they wait for a turn, the oldest first."""

    def ids() -> list[str]:
        jobs = client.get("/v1/jobs", params={"state": "queued"}).json()["data"]
        return [
            job["id"] for job in reversed(jobs) if (job["state_reason"] or "").startswith("running_jobs: at most 2")
        ]

    return ids


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled", "deleted", "deleted while finalizing"])
def test_the_third_job_waits_and_begins_when_one_ends(client, worker, ask, waiting, end):
    first, _, third = ask(), ask(), ask()
    assert waiting() == [third]
    assert len(worker.items("shard")) == 2
    assert client.get(f"/v1/jobs/{third}").json()["progress"]["shards_total"] == 1, "its plan is fixed"
    match end:
        case "succeeded":
            worker.shard()
            worker.finalize()
        case "failed":
            worker.fail("shard", DataError("NaN"))
        case "cancelled":
            client.post(f"/v1/jobs/{first}/cancel")
        case "deleted":
            client.delete(f"/v1/jobs/{first}")
        case "deleted while finalizing":
            worker.shard()
            assert waiting() == [third], "it is not over yet"
            client.delete(f"/v1/jobs/{first}")
    assert waiting() == []
    assert {item.subject_id for item in worker.items("shard")} >= {third}
    assert client.get("/v1/limits").json()["usage"]["running_jobs"] == 2


def test_held_jobs_go_by_priority_and_then_by_age(client, worker, ask, waiting):
    running = [ask(), ask()]
    old, urgent, young = ask(), ask(priority=9), ask()
    client.post(f"/v1/jobs/{running[0]}/cancel")
    assert waiting() == [old, young]
    client.post(f"/v1/jobs/{running[1]}/cancel")
    assert waiting() == [young]
    client.post(f"/v1/jobs/{young}/cancel")
    client.post(f"/v1/jobs/{urgent}/cancel")
    assert client.get(f"/v1/jobs/{young}").json()["state"] == "cancelled"
    assert client.post(f"/v1/jobs/{young}/retry").status_code == 202
    assert waiting() == [], "the other one that was cancelled has made room"


def test_a_model_that_a_held_job_needs_is_in_use(client, model, ask):
    held = [ask(), ask(), ask()][2]
    refused = client.delete(f"/v1/models/{model}")
    assert refused.status_code == 409
    assert held in refused.json()["detail"]


def test_the_sweep_begins_what_a_crash_or_other_settings_left(server, ask, waiting):
    first, _, *held = [ask() for _ in range(4)]
    with server.database.writing() as session:
        session.get_one(JobRow, first).state = "cancelled"  # and then the process died
    assert waiting() == held
    with server.database.writing() as session:
        server.services.outcomes.resume(session)
    assert waiting() == held[1:]
    settings = server.services.settings.model_copy(update={"limits": LimitSettings()})
    unlimited = Outcomes(server.services.storage, settings)
    with server.database.writing() as session:
        unlimited.resume(session)
    assert waiting() == []


@both
def test_twenty_at_once_begin_two(server, worker, ask, waiting):
    with ThreadPoolExecutor(20) as threads:
        list(threads.map(lambda _: ask(), range(20)))
    assert len(worker.items("shard")) == 2
    assert len(waiting()) == 18


@both
def test_workers_that_end_jobs_at_the_same_time_never_run_three_and_leave_none(server, worker, ask):
    jobs = [ask(rows=300, shard_rows=150) for _ in range(6)]
    most: list[int] = []

    def work_on(database: Database) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with database.reading() as session:
                most.append(begun_jobs(session, worker.tenant_id))
                states = session.execute(select(JobRow.state).where(JobRow.id.in_(jobs))).scalars().all()
            if set(states) == {"succeeded"}:
                return
            for kind in ("shard", "finalize"):
                for item in worker.items(kind)[:2]:
                    with database.writing() as session:
                        taken = claim(session, item.id, owner="by hand", lease_seconds=60)
                    if taken is not None:
                        worker.shard(taken) if kind == "shard" else worker.finalize(taken)

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(work_on, server.database) for _ in range(4)]:
            done.result()
    assert max(most) == 2
    with server.database.reading() as session:
        states = session.execute(select(JobRow.state).where(JobRow.id.in_(jobs))).scalars().all()
    assert states == ["succeeded"] * len(jobs)
