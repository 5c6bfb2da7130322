"""What a key may do, on every address of the API: read, or change something; refused at the door."""

import secrets
import socket

import httpx
import pytest

from service.keys import operations as keys
from tests.service.conftest import NO_TLS
from tests.service.test_tenants_and_health import routes


@pytest.fixture
def with_scopes(server):
    """A caller whose key has these scopes alone."""
    callers = []

    def make(*scopes: str) -> httpx.Client:
        with server.database.writing() as session:
            key = keys.create(session, pepper=server.services.pepper, tenant=secrets.token_hex(8), scopes=scopes).text
        headers = {"Authorization": f"Bearer {key}"}
        callers.append(httpx.Client(base_url=server.url, headers=headers, timeout=10, trust_env=False, verify=NO_TLS))
        return callers[-1]

    yield make
    for caller in callers:
        caller.close()


def test_every_route_wants_the_scope_that_fits_it(server, with_scopes):
    reads, writes = with_scopes("read"), with_scopes("write")
    document = httpx.get(f"{server.url}/openapi.json", trust_env=False).json()["paths"]
    asked = [(method, path) for method, path in routes(server) if path.startswith("/v1/")]
    assert len(asked) > 25
    for method, path in asked:
        needed = "read" if method in {"GET", "HEAD"} or path == "/v1/jobs/plan" else "write"
        assert document[path][method.lower()]["security"] == [{"HTTPBearer": [needed]}], "which is documented"
        refused, let_in = (writes, reads) if needed == "read" else (reads, writes)
        answer = refused.request(method, path)
        assert answer.status_code == 403, (method, path)
        if method != "HEAD":
            problem = answer.json()
            assert (problem["code"], f"scope {needed};" in problem["detail"]) == ("not_allowed", True), (method, path)
        assert let_in.request(method, path).status_code not in {401, 403}, (method, path)


def test_admin_is_both(with_scopes):
    admin = with_scopes("admin")
    assert admin.get("/v1/jobs").status_code == 200
    assert admin.post("/v1/jobs", json={}).status_code == 422


def test_the_body_of_what_is_not_allowed_is_not_read(server, with_scopes):
    key = with_scopes("read").headers["authorization"]
    head = f"POST /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nContent-Length: 150000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as line:
        line.sendall(head.encode())
        answer = b""
        while piece := line.recv(65_536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b'"code":"not_allowed"' in answer


def test_a_method_that_nobody_knows_is_a_change(with_scopes):
    assert with_scopes("read").request("PURGE", "/v1/jobs").status_code == 403
    assert with_scopes("write").request("PURGE", "/v1/jobs").status_code == 405
