"""Requests that no honest client sends: each is refused in words, and the service goes on as if nothing had been."""

import json
import socket
from contextlib import suppress
from urllib.parse import quote

import pytest

JOB = {"model": "digits", "strategy": {"kind": "prior"}, "rows": 10}
IDS = [
    "%00", "a%00b", "%ff%fe", "%F0%9F%92%A9", quote("é" * 200), "x" * 10_000, "%2e%2e", "..%2f..%2fetc%2fpasswd", "%20",
    quote("'; DROP TABLE jobs; --"), "job_", "job_" + "0" * 26, "%EF%BF%BE", "null", "-1", "%E2%80%AE",
]  # fmt: skip
NUMBERS = ["-1", "0.5", "1e3", "nan", "inf", "1" + "0" * 30, "1" * 5000, "", "%00", "0x10", "１", "1,000", "true"]
DEEP = 50_000


@pytest.fixture
def job(client, model, worker):
    made = client.post("/v1/jobs", json=JOB | {"rows": 100, "name": "made"}).json()["id"]
    worker.shard()
    worker.finalize()
    return made


def refused(answer, *statuses):
    """It is a problem with one of these statuses, in words."""
    assert answer.status_code in statuses, (answer.status_code, answer.text[:300])
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] != "internal"
    return answer.json()


@pytest.mark.parametrize("noun", ["models", "datasets", "fits", "reports", "jobs"])
def test_no_name_is_too_strange(client, noun):
    for wrong in IDS:
        refused(client.get(f"/v1/{noun}/{wrong}"), 404)
        refused(client.delete(f"/v1/{noun}/{wrong}"), 404)
        if noun in {"fits", "reports"}:
            refused(client.get(f"/v1/{noun}?model={wrong}&dataset={wrong}"), 404)


def test_no_number_is_too_large_or_no_number(client, job):
    for wrong in NUMBERS:
        check_number(client, job, wrong)


def check_number(client, job, wrong):
    for address in (
        "/v1/jobs?limit=",
        "/v1/models/digits?wait=",
        f"/v1/jobs/{job}?wait=",
        f"/v1/jobs/{job}/rows?count=",
    ):
        answer = client.get(address + wrong)
        assert answer.status_code == 422 or (wrong == "0.5" and "wait" in address), (address, answer.text)
    for address in ("/v1/jobs?cursor=", f"/v1/jobs/{job}/shards?cursor=", f"/v1/jobs/{job}/rows?first="):
        assert client.get(address + wrong).status_code in {200, 422}, address
    assert client.get(f"/v1/jobs/{job}/shards/{wrong or 'x'}").status_code in {404, 422}
    assert client.head(f"/v1/jobs/{job}/shards/{wrong or 'x'}").status_code in {404, 422}


BODIES = [
        b"", b"null", b"[]", b'"job"', b"7", b"{", b"\xff\xfe{}", b"\xef\xbb\xbf{}", b'{"model": "\xff"}', b"\x00",
        json.dumps(JOB)[:-1].encode(),
        json.dumps(JOB).replace("10", "1e999").encode(), json.dumps(JOB).replace("10", "9" * 5000).encode(),
        json.dumps(JOB).replace("10", "NaN").encode(), json.dumps(JOB).replace("10", "-Infinity").encode(),
        json.dumps(JOB).replace("10", "1" + "0" * 400).encode(), json.dumps(JOB).replace("10", "10.000001").encode(),
        json.dumps(JOB | {"seed": 2**53}).encode(), json.dumps(JOB | {"seed": -0.5}).encode(),
        json.dumps(JOB | {"\ud800": 1}).encode(), json.dumps(JOB | {"name": "\ud800"}).encode(),
        json.dumps(JOB | {"metadata": {"\udfff": "x"}}).encode(),
        json.dumps(JOB | {"metadata": {"x": "\udfff"}}).encode(),
        json.dumps(JOB | {"name": "a\0b"}).encode(), json.dumps(JOB | {"name": ""}).encode(),
        json.dumps(JOB | {"metadata": {str(number): "" for number in range(17)}}).encode(),
        json.dumps(JOB | {"strategy": {"kind": "\ud800"}}).encode(), json.dumps(JOB | {"strategy": None}).encode(),
        json.dumps(JOB | {"strategy": {"kind": "prior", "labels": {"counts": {"\ud800": 10}}}}).encode(),
        b'{"strategy": ' + b"[" * 3000 + b"]" * 3000 + b"}", b'{"a":' * 3000 + b"1" + b"}" * 3000, b"[" * 15_000,
    ]  # fmt: skip


def test_no_body_is_too_strange(client, model):
    for body in BODIES:
        check_body(client, body)


def check_body(client, body):
    headers = {"Content-Type": "application/json"}
    for address in ("/v1/jobs", "/v1/jobs/plan", "/v1/fits", "/v1/reports", "/v1/previews"):
        refused(client.post(address, content=body, headers=headers), 422)
    assert client.get("/v1/jobs").json()["data"] == []


def test_text_that_no_database_takes_is_refused_or_kept_as_it_is(client, model):
    for name in ("\u202ename", "e\u0301", "💩", "\ue000", " ", "'", "plan", "..", "%00"):
        made = client.post("/v1/jobs", json=JOB | {"name": name, "metadata": {name: name}})
        assert (made.status_code, made.json()["name"], made.json()["metadata"]) == (202, name, {name: name})
    kept = client.post("/v1/jobs", json=JOB | {"metadata": {"a\0b": "c\0d"}})
    assert (kept.status_code, kept.json()["metadata"]) == (202, {"a\0b": "c\0d"})
    refused(client.post("/v1/jobs", json=JOB | {"strategy": {"kind": "aggregate", "fit": "a\0b"}}), 404, 422)


def test_of_equal_keys_the_last_one_counts(client, model):
    body, headers = json.dumps(JOB)[:-1] + ', "rows": 11}', {"Content-Type": "application/json"}
    made = client.post("/v1/jobs", content=body, headers=headers)
    assert (made.status_code, made.json()["spec"]["rows"]) == (202, 11)


RANGES = [
        "bytes=", "bytes=-", "bytes=a-b", "bytes=-0", "bytes=0-0,2-3", "bytes=5-2", "lines=0-1", "bytes 0-1",
        "bytes=0-1;", "BYTES=0-1", "bytes=\xff-1", "=", f"bytes={'9' * 4000}-", "bytes=0-" + "9" * 5000,
    ]  # fmt: skip


def test_no_range_is_too_strange(client, job):
    for header in RANGES:
        check_range(client, job, header)


def check_range(client, job, header):
    whole = client.get(f"/v1/jobs/{job}/shards/0?redirect=false").content
    answer = client.get(f"/v1/jobs/{job}/shards/0?redirect=false", headers=[(b"Range", header.encode("latin-1"))])
    if answer.status_code == 416:
        assert answer.headers["content-range"] == f"bytes */{len(whole)}"
    elif answer.status_code == 206:
        assert len(answer.content) < len(whole)
    else:
        assert (answer.status_code, answer.content) == (200, whole)


ETAGS = ["", ",", '"', "W/", '"a" "b"', "\xff", '"' + "a" * 8000 + '"', "*, *", "W/*", "null"]


def test_no_etag_is_too_strange(client, job):
    for header in ETAGS:
        check_etag(client, job, header)


def check_etag(client, job, header):
    raw = header.encode("latin-1")
    for address in (f"/v1/jobs/{job}", f"/v1/jobs/{job}/shards/0", f"/v1/jobs/{job}/manifest"):
        for name in (b"If-None-Match", b"If-Range"):
            assert client.get(address, headers=[(name, raw)]).status_code in {200, 304}
    answer = client.get(f"/v1/jobs/{job}/events", headers=[(b"Last-Event-ID", raw)])
    assert answer.status_code == (200 if not header else 422)


KEYS = ["", "k" * 256, "\xff", "a\tb", '"quoted"', "💩".encode().decode("latin-1")]


def test_no_idempotency_key_is_too_strange(client, model):
    for key in KEYS:
        check_idempotency_key(client, key)


def check_idempotency_key(client, key):
    raw = [(b"Idempotency-Key", key.encode("latin-1"))]
    first, again = (client.post("/v1/jobs", json=JOB, headers=raw) for _ in range(2))
    if 1 <= len(key.strip()) <= 255:
        assert first.json() == again.json()
    else:
        refused(first, 422)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PATCH", "TRACE", "LIST"])
def test_other_methods_say_which_there_are(client, method):
    answer = client.request(method, "/v1/jobs")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


def test_addresses_beside_ours_are_nothing(client):
    for address in (
        "/v1",
        "/v1/",
        "/v1/jobs/",
        "//v1/jobs",
        "/v1//jobs",
        "/V1/jobs",
        "/v1/jobs%2F",
        "/v1/jobs;a=b",
        "/v1/%00",
    ):
        refused(client.get(address), 404)


def raw(server, api_key, request: str, body: bytes = b"") -> bytes:
    """What the server says to these very bytes, until it has no more to say."""
    head = request.format(key=f"Host: here\nAuthorization: Bearer {api_key}").replace("\n", "\r\n")
    said = b""
    with socket.create_connection(("127.0.0.1", server.port), 5) as line, suppress(OSError):
        line.sendall(head.encode("latin-1") + body)
        line.settimeout(0.5)
        while piece := line.recv(65_536):
            said += piece
    return said


SMUGGLED = "0\r\n\r\nGET /v1/limits HTTP/1.1\r\nHost: here\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\nContent-Length: 6", SMUGGLED.encode()),
        ("Content-Length: 6\nTransfer-Encoding: chunked", SMUGGLED.encode()),
        ("Transfer-Encoding: xchunked\nContent-Length: 2", b"{}"),
        ("Transfer-Encoding : chunked", b"0\r\n\r\n"),
        ("Transfer-Encoding: gzip, chunked", b"0\r\n\r\n"),
        ("Content-Length: 2\nContent-Length: 3", b"{}"),
        ("Content-Length: +2", b"{}"),
        ("Content-Length: -1", b"{}"),
        ("Content-Length: 0x2", b"{}"),
        ("Content-Length: 2, 2", b"{}"),
        ("Content-Length: " + "9" * 40, b"{}"),
        ("Content-Length: 100", b"{}"),
        ("X: " + "a" * 200_000 + "\nContent-Length: 2", b"{}"),
        ("X\0: a\nContent-Length: 2", b"{}"),
        ("X: a\n b\nContent-Length: 2", b"{}"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("address", ["/v1/jobs", "/v1/models"])
def test_no_framing_is_too_strange(server, api_key, client, address, head, body):
    said = raw(
        server,
        api_key,
        f"POST {address} HTTP/1.1\n{{key}}\nContent-Type: application/json\nConnection: close\n{head}\n\n",
        body,
    )
    assert said.count(b"HTTP/1.1 ") <= 1, "one request, one answer: nothing was smuggled in"
    assert not said or said.startswith(b"HTTP/1.1 4"), said[:200]
    assert client.get("/v1/limits").status_code == 200


@pytest.mark.parametrize(
    "request_line",
    ["GET /v1/jobs HTTP/1.0", "GET http://other/v1/jobs HTTP/1.1", "GET /v1/jobs?limit=%ZZ HTTP/1.1", "GET /v1/jobs"],
)
def test_no_request_line_is_too_strange(server, api_key, client, request_line):
    said = raw(server, api_key, f"{request_line}\n{{key}}\nConnection: close\n\n")
    assert said.split(b" ")[1][:1] in {b"2", b"4"}, said[:200]


def parts(*parts: bytes) -> bytes:
    return b"".join(b"--edge\r\n" + part + b"\r\n" for part in parts) + b"--edge--\r\n"


MULTIPART = {"Content-Type": "multipart/form-data; boundary=edge"}
FILE = b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\nbytes'


def field(name: bytes, value: bytes) -> bytes:
    return b'Content-Disposition: form-data; name="' + name + b'"\r\n\r\n' + value


UPLOADS = [
    b"",
    b"--edge--\r\n",
    parts(FILE)[:-8],
    parts(FILE, FILE),
    parts(b"\r\nbytes"),
    parts(FILE.replace(b'name="file"', b'name="file\0"')),
    parts(FILE, field(b"name", b"\xff\xfe")),
    parts(FILE, field(b"name", b"n" * 70_000)),
    parts(FILE, field(b"metadata", b'{"a": "\\ud800"}')),
    parts(FILE, field(b"metadata", b"[" * 60_000)),
    parts(FILE, field(b"expires_in", b"nan")),
    parts(FILE, field(b"expires_at", b"\xd9\xa1")),
    parts(b"X: " + b"y" * 150_000 + b"\r\n" + FILE),
    parts(*[field(b"%d" % number, b"") for number in range(2000)]),
]


def test_no_upload_is_too_strange(client, worker):
    for body in UPLOADS:
        check_upload(client, worker, body)


def check_upload(client, worker, body):
    for to in ("models", "datasets"):
        refused(client.post(f"/v1/{to}", content=body, headers=MULTIPART), 422)
        assert client.get(f"/v1/{to}").json()["data"] == []
    assert worker.stored_keys() == []


@pytest.mark.parametrize("kind", ["", "; boundary=" + "e" * 71, "; boundary=\xff", "; boundary=", '; boundary="'])
def test_no_boundary_is_too_strange(client, worker, kind):
    headers = [(b"Content-Type", b"multipart/form-data" + kind.encode("latin-1"))]
    refused(client.post("/v1/models", content=parts(FILE), headers=headers), 415, 422)
    refused(client.post("/v1/models", content=parts(FILE), headers={"Content-Type": "application/json"}), 415)
    assert worker.stored_keys() == []


@pytest.mark.parametrize(
    "filename", ["", "..", "../../etc/passwd", "a\0b", "\xff\xfe", "x" * 5000, 'a"; name="name', "C:\\a\\b"]
)
def test_no_file_name_is_too_strange(client, worker, filename):
    disposition = b'Content-Disposition: form-data; name="file"; filename="' + filename.encode("latin-1") + b'"'
    answer = client.post("/v1/models", content=parts(disposition + b"\r\n\r\nbytes"), headers=MULTIPART)
    assert answer.status_code in {202, 422}
    assert len(worker.stored_keys()) == (answer.status_code == 202)
