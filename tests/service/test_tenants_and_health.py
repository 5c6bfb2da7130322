"""What answers without a key and what does not; the OpenAPI document; what is to come."""

import httpx
import pytest

from tests.service.conftest import NO_TLS


def routes(server):
    """Every address of the API with its methods, from the OpenAPI document."""
    document = httpx.get(f"{server.url}/openapi.json", trust_env=False).json()
    return [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]


def test_every_keyed_route_wants_a_key(server):
    with httpx.Client(base_url=server.url, trust_env=False, verify=NO_TLS) as keyless:
        for method, path in routes(server):
            if path.startswith("/v1/"):
                assert keyless.request(method, path).status_code == 401, (method, path)


def test_health_needs_no_key(server):
    assert httpx.get(f"{server.url}/healthz", trust_env=False).json() == {"status": "ok"}
    assert httpx.get(f"{server.url}/docs", trust_env=False).status_code == 200


def test_the_embedded_service_is_ready_when_both_workers_answer(server, worker):
    starting = httpx.get(f"{server.url}/readyz", trust_env=False)
    assert starting.status_code == 503
    assert list(starting.json()["failing"]) == ["workers"]
    worker.announce("compute", "compute.cpu")
    assert "prompt" in httpx.get(f"{server.url}/readyz", trust_env=False).json()["failing"]["workers"]
    worker.announce("prompt")
    ready = httpx.get(f"{server.url}/readyz", trust_env=False)
    assert (ready.status_code, ready.json()["failing"]) == (200, {})


def test_limits_are_shown(client):
    limits = client.get("/v1/limits").json()
    assert limits["upload_bytes"] == 200_000
    assert limits["rows_per_job"] == 1_000_000_000


def test_the_document_describes_problems(server):
    document = httpx.get(f"{server.url}/openapi.json", trust_env=False).json()
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert document["components"]["schemas"]["Problem"]["properties"]["code"]
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation.get("description") or operation["tags"] == ["to come"]
            for status, answer in operation["responses"].items():
                if status >= "400" and "content" in answer:
                    assert set(answer["content"]) & {"application/problem+json", "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "what"),
    [
        ("GET", "/v1/jobs/job_1/archive", "archive"),
        ("GET", "/metrics", "Metrics"),
    ],
)
def test_what_is_to_come_says_so_by_name(client, method, path, what):
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (501, "not_yet")
    assert what in answer.json()["detail"]
