"""Limits of a tenant: each refusal names the limit, its value and the way out; nothing of what is refused stays."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import func, select

from service.settings import LimitSettings
from service.tables import JobRow, ModelRow
from tests.service.conftest import both
from tests.service.test_admission import spoken

TENANTS = {
    "small": {"rows_per_job": 100, "shards_per_job": 3, "upload_bytes": 3000},
    "tight": {"stored_bytes": 20_000},
    "queued": {"queued_jobs": 3},
    "hasty": {"requests_per_second": 0.5, "request_burst": 5},
}


LIMITS = LimitSettings(tenants=TENANTS)


@pytest.fixture
def server(request):
    """One of SQLite for all tests; for those marked `both` one of each kind."""
    return request.getfixturevalue(getattr(request, "param", "sqlite_server"))


@pytest.fixture
def tenant(request):
    return request.param


@pytest.fixture(autouse=True)
def _emptied(request, client):
    """Tenants have names here, so they are shared between the tests of one server."""
    yield
    if "hasty" not in request.node.callspec.params.values():
        for noun in ("jobs", "fits", "datasets", "models"):
            for found in client.get(f"/v1/{noun}").json()["data"]:
                client.delete(f"/v1/{noun}/{found['id']}")


def of(*names):
    return pytest.mark.parametrize("tenant", names, indirect=True)


def ask(client, model, rows=10, **more):
    return client.post("/v1/jobs", json={"model": model, "strategy": {"kind": "prior"}, "rows": rows, **more})


def usage(client):
    return client.get("/v1/limits").json()["usage"]


@of("small")
def test_every_refusal_names_the_limit_its_value_and_the_way_out(client, model, upload):
    rows = ask(client, model, 101).json()
    assert (rows["status"], rows["code"], rows["errors"][0]["pointer"]) == (422, "limit_exceeded", "/rows")
    assert "100 (rows_per_job)" in rows["detail"]
    assert "several jobs" in rows["detail"]
    shards = ask(client, model, 100, shard_rows=10).json()
    assert (shards["code"], shards["errors"][0]["pointer"]) == ("limit_exceeded", "/shard_rows")
    assert "10 shards, at most 3 (shards_per_job): ask for at least 34 rows" in shards["detail"]
    assert ask(client, model, 100, shard_rows=34).status_code == 202
    large = upload("models", b"x" * 3001).json()
    assert (large["status"], large["code"]) == (413, "body_too_large")
    assert "3,000" in large["detail"]
    assert "upload_bytes" in large["detail"]


@of("small", "unnamed")
def test_a_tenant_sees_its_own_limits_and_nobody_elses(client, tenant):
    shown = client.get("/v1/limits").json()
    assert (shown["tenant"], shown["rows_per_job"]) == (tenant, 100 if tenant == "small" else 1_000_000_000)
    assert shown["stored_bytes"] is None
    assert shown["json_bytes"] == 1024**2
    assert shown["usage"] == {"stored_bytes": 0, "planned_bytes": 0, "running_jobs": 0, "queued_jobs": 0}
    assert "tenants" not in shown
    assert "tight" not in str(shown)


@of("tight")
def test_stored_bytes_count_what_is_kept_and_what_is_planned(client, model, fit, worker, upload):
    before = usage(client)
    assert before["stored_bytes"] == len(b"a bundle") + 4 + 8 + len(b"parameters"), "model, dataset, encoding, fit"
    job = ask(client, model, 200, shard_rows=100).json()["id"]
    assert usage(client)["planned_bytes"] == 200 * 64
    worker.shard()
    halfway = usage(client)
    made = client.get(f"/v1/jobs/{job}").json()["progress"]["bytes"]
    assert halfway["stored_bytes"] == before["stored_bytes"] + made
    assert halfway["planned_bytes"] == 200 * 64 - made
    client.post(f"/v1/jobs/{job}/cancel")
    assert usage(client)["planned_bytes"] == 0, "what will not be made takes no room"
    assert client.delete(f"/v1/jobs/{job}").status_code == 202
    assert usage(client) == before


@of("tight")
def test_a_full_tenant_is_refused_before_the_body_is_read_and_told_what_to_do(
    server, client, api_key, model, upload, worker
):
    kept = len(worker.stored_keys())
    head = f"POST /v1/datasets HTTP/1.1\nHost: x\nAuthorization: Bearer {api_key}\nContent-Length: 21000"
    refused = spoken(server, head).decode()
    assert refused.startswith("HTTP/1.1 422 ")
    assert "connection: close" in refused
    assert "stored_bytes is 20,000: delete" in refused
    planned = ask(client, model, 400).json()
    assert (planned["status"], planned["code"]) == (422, "limit_exceeded")
    assert "25,608 bytes, 25,600 of them still to come" in planned["detail"]
    asked = {"model": model, "strategy": {"kind": "prior"}, "rows": 400}
    assert client.post("/v1/jobs/plan", json=asked).json()["code"] == "limit_exceeded"
    assert (usage(client)["queued_jobs"], len(worker.stored_keys())) == (0, kept)
    assert upload("models", b"a bundle", "digits.vae.zip", name="digits").status_code == 200, "it is there already"


@of("tight")
def test_a_job_that_waited_is_refused_when_its_size_is_known(client, upload, worker):
    model = upload("models", b"another bundle").json()["id"]
    job = ask(client, model, 400).json()["id"]
    worker.inspect()
    failed = client.get(f"/v1/jobs/{job}").json()
    assert (failed["state"], failed["error"]["code"]) == ("failed", "limit_exceeded")
    assert client.get(f"/v1/models/{model}").json()["state"] == "ready"
    assert worker.items("shard") == []


@both
@of("tight")
def test_twenty_at_once_never_pass_the_limit_on_stored_bytes(server, client, model, worker):
    # Each plans 64 x 32 = 2,048 bytes, so that nine of them fit beside the model.
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: ask(client, model, 32), range(20)))
    assert sorted(answer.status_code for answer in answers) == [202] * 9 + [422] * 11
    assert usage(client)["planned_bytes"] == 9 * 2048
    with server.database.reading() as session:
        mine = JobRow.tenant_id == worker.tenant_id
        assert session.execute(select(func.count()).where(mine, JobRow.state == "queued")).scalar_one() == 9
        assert len(worker.items("shard")) == 9
    with ThreadPoolExecutor(8) as threads:
        uploads = threads.map(
            lambda n: client.post("/v1/models", files={"file": ("a", bytes([n]) * 600)}).status_code, range(8)
        )
        assert sorted(uploads) == [202] * 2 + [422] * 6
    assert len(worker.stored_keys()) == 3, "what was refused is gone"
    with server.database.reading() as session:
        mine = ModelRow.tenant_id == worker.tenant_id
        assert session.execute(select(func.count()).where(mine, ModelRow.deleted_at.is_(None))).scalar_one() == 3


@both
@of("queued")
def test_twenty_at_once_never_pass_the_limit_on_queued_jobs(client, model, worker):
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: ask(client, model), range(20)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) == 17
    assert {(answer.json()["code"], answer.json()["retryable"]) for answer in refused} == {("limit_reached", True)}
    assert "3 jobs are queued" in refused[0].json()["detail"]
    assert "queued_jobs" in refused[0].json()["detail"]
    assert int(refused[0].headers["Retry-After"]) >= 1
    assert usage(client)["queued_jobs"] == 3
    worker.shard()
    assert ask(client, model).status_code == 202, "one has begun"


@of("queued")
def test_a_retry_is_a_job_in_the_queue_too(client, model):
    jobs = [ask(client, model).json()["id"] for _ in range(3)]
    client.post(f"/v1/jobs/{jobs[0]}/cancel")
    assert ask(client, model).status_code == 202
    again = client.post(f"/v1/jobs/{jobs[0]}/retry")
    assert (again.status_code, again.json()["code"]) == (429, "limit_reached")
    assert client.get(f"/v1/jobs/{jobs[0]}").json()["state"] == "cancelled"


@of("hasty")
def test_who_asks_too_often_is_told_when_to_come_again(client, server, new_key):
    answers = [client.get("/v1/models") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert answers[0].headers["RateLimit-Policy"] == '"requests";q=5;w=10'
    assert answers[0].headers["RateLimit"].startswith('"requests";r=4;t=')
    refused = answers[5]
    assert refused.json()["code"] == "too_many_requests"
    assert refused.json()["retryable"]
    assert "5 requests at once" in refused.json()["detail"]
    assert "requests_per_second" in refused.json()["detail"]
    assert 1 <= int(refused.headers["Retry-After"]) <= 2
    assert refused.headers["RateLimit"].startswith('"requests";r=0;t=')
    other_key = {"Authorization": f"Bearer {new_key('hasty')}"}
    assert httpx.get(f"{server.url}/v1/models", headers=other_key, trust_env=False).status_code == 429
    stranger = {"Authorization": f"Bearer {new_key('unnamed')}"}
    calm = httpx.get(f"{server.url}/v1/models", headers=stranger, trust_env=False)
    assert calm.status_code == 200
    assert "RateLimit" not in calm.headers
    assert httpx.get(f"{server.url}/healthz", trust_env=False).status_code == 200
