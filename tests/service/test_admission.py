"""What is answered at the door: keys, sizes, ids; and what no route answers."""

import socket

import httpx
import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from service.logs import TextLines
from service.settings import BrokerSettings
from tests.service.conftest import serving

FORM = "multipart/form-data; boundary=b"


def spoken(server, head: str, *, wait_seconds: float = 5.0) -> bytes:
    """What the server answers to a request whose body never comes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait_seconds) as line:
        line.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        answer = b""
        while piece := line.recv(65_536):
            answer += piece
    return answer


@pytest.mark.parametrize("path", ["/v1/models", "/v1/datasets", "/v1/jobs", "/v1/fits"])
def test_without_a_key_the_body_is_not_read(server, path):
    answer = spoken(server, f"POST {path} HTTP/1.1\nHost: x\nContent-Length: 150000")
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b'"code":"not_authenticated"' in answer
    assert b"www-authenticate: bearer" in answer.lower()


@pytest.mark.parametrize("key", ["Bearer lm_x_y", "Bearer", "Basic abc", "Bearer \x01", "Bearer lm_é_ü"])
def test_a_wrong_key_is_no_key(client, key):
    refused = client.get("/v1/models", headers={"Authorization": key.encode()})
    assert (refused.status_code, refused.json()["code"]) == (401, "not_authenticated")


@pytest.mark.parametrize(("path", "size"), [("/v1/models", 200_001), ("/v1/datasets", 10**12), ("/v1/jobs", 20_001)])
def test_a_body_too_large_is_refused_before_it_is_read(server, api_key, path, size):
    head = f"POST {path} HTTP/1.1\nHost: x\nAuthorization: Bearer {api_key}\nContent-Length: {size}"
    answer = spoken(server, head)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"body_too_large"' in answer
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("path", ["/v1/models", "/v1/jobs"])
def test_a_body_of_unknown_size_is_refused_before_it_is_read(server, api_key, path):
    head = f"POST {path} HTTP/1.1\nHost: x\nAuthorization: Bearer {api_key}\nTransfer-Encoding: chunked"
    answer = spoken(server, head)
    assert answer.startswith(b"HTTP/1.1 411 ")
    assert b'"code":"length_required"' in answer


def test_a_client_that_asks_first_is_not_told_to_send(server, api_key):
    head = f"POST /v1/models HTTP/1.1\nHost: x\nAuthorization: Bearer {api_key}\nContent-Length: 999999999"
    answer = spoken(server, head + "\nExpect: 100-continue")
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_an_upload_that_breaks_off_leaves_nothing(server, client, api_key, worker):
    head = (
        f"POST /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api_key}\r\nContent-Length: 9999\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf of the'
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as line:
        line.sendall(head.encode())
    assert client.get("/v1/models").json()["data"] == []
    assert worker.stored_keys() == []


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"--b\r\nno colon\r\n", FORM, 422, "invalid_request"),
        (b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx', FORM, 422, "invalid_request"),
        (b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nx\r\n--b--\r\n', FORM, 422, "invalid_request"),
        (b"{}", "application/json", 415, "unsupported_media_type"),
        (b"x", "multipart/form-data", 415, "unsupported_media_type"),
    ],
)  # fmt: skip
def test_what_is_no_upload_is_refused(client, worker, body, kind, status, code):
    refused = client.post("/v1/models", content=body, headers={"Content-Type": kind})
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert worker.stored_keys() == []


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/v1/nothing", 404, "not_found"),
        ("PUT", "/v1/jobs", 405, "method_not_allowed"),
        ("GET", "/v1/models/mdl_nothing", 404, "not_found"),
        ("GET", "/v1/jobs?limit=0", 422, "invalid_request"),
        ("GET", "/v1/jobs/x/shards/one", 422, "invalid_request"),
    ],
)
def test_every_error_is_a_problem(client, method, path, status, code):
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "code", "errors", "request_id", "retryable"}
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"] == f"urn:latentmill:problem:{code}"


@pytest.mark.parametrize("body", [b"{", b"", b"[1]", b'"text"', b"{} {}", b"\xff"])
def test_what_is_no_json_object_is_refused(client, body):
    refused = client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert refused.status_code == 422
    assert refused.json()["code"] == "invalid_request"


def test_the_request_id_is_the_callers_or_a_new_one(client):
    assert client.get("/v1/models", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"
    made = client.get("/v1/models", headers={"X-Request-Id": "no good id!"}).headers["x-request-id"]
    assert made.startswith("req_")
    assert client.get("/v1/models").headers["x-request-id"] != made


def test_a_defect_is_internal_with_an_id_that_the_log_has_too(server, tmp_path, caplog):
    # Two apps of one process share the connections to one broker, and the first to end closes them.
    caplog.handler.setFormatter(TextLines())
    nowhere = BrokerSettings(url=f"redis+socket://{tmp_path}/no-broker")
    elsewhere = server.services.settings.model_copy(update={"broker": nowhere})
    with serving(elsewhere) as broken:
        broken.services.storage.check = broken.services.storage.read  # type: ignore[method-assign]
        answer = httpx.get(f"{broken.url}/readyz", trust_env=False)
    assert answer.status_code == 500
    problem = answer.json()
    assert problem["code"] == "internal"
    assert "read()" not in answer.text, "what went wrong inside is not shown"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["request_id"] in caplog.text


def test_a_commit_that_fails_is_no_success(server, client, model, worker):
    def fail(connection):
        raise OperationalError("COMMIT", {}, Exception("disk I/O error"))

    body = {"model": "digits", "strategy": {"kind": "prior"}, "rows": 10}
    event.listen(server.database.engine, "commit", fail)
    try:
        answer = client.post("/v1/jobs", json=body)
    finally:
        event.remove(server.database.engine, "commit", fail)
    assert (answer.status_code, answer.json()["code"]) == (503, "database_fault")
    assert answer.headers["retry-after"]
    assert client.get("/v1/jobs").json()["data"] == []
    assert worker.items("shard") == []
    assert client.post("/v1/jobs", json=body).status_code == 202
