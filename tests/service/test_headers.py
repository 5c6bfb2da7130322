"""What every answer tells a browser, and one line in the log for each request."""

import base64
import hashlib
import logging
import re

import httpx
import pytest

from service.logs import TextLines

NOTHING = "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/v1/models", "no-store"),
        ("/v1/models/mdl_nothing", "no-store"),
        ("/nothing", "no-store"),
        ("/healthz", "no-store"),
        ("/openapi.json", "no-store"),
        ("/v1/jobs?limit=0", "no-store"),
    ],
)
def test_every_answer_is_data_that_nobody_keeps(client, path, kept):
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"] == NOTHING
    assert headers["cache-control"] == kept


def test_an_answer_at_the_door_has_them_too(server):
    refused = httpx.get(f"{server.url}/v1/models", trust_env=False)
    assert refused.status_code == 401
    assert (refused.headers["content-security-policy"], refused.headers["cache-control"]) == (NOTHING, "no-store")


def test_what_has_an_etag_may_be_kept_by_who_asks_each_time(client, model):
    job = client.post("/v1/jobs", json={"model": model, "strategy": {"kind": "prior"}, "rows": 10}).json()["id"]
    shown = client.get(f"/v1/jobs/{job}")
    assert shown.headers["cache-control"] == "private, no-cache"
    again = client.get(f"/v1/jobs/{job}", headers={"If-None-Match": shown.headers["etag"]})
    assert (again.status_code, again.headers["cache-control"]) == (304, "private, no-cache")


def test_the_docs_run_their_own_script_and_that_of_their_cdn_alone(server):
    page = httpx.get(f"{server.url}/docs", trust_env=False)
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert "'unsafe-inline'" not in policy["script-src"]
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy["script-src"].split()
    sources = re.findall(r'(?:src|href)="(https://[^"]*)"', page.text)
    assert len(sources) >= 2
    for source in sources:
        assert any(source.startswith(allowed) for allowed in " ".join(policy.values()).split()), source
    assert httpx.get(f"{server.url}/redoc", trust_env=False).status_code == 404


def test_every_request_has_one_line_in_the_words_of_its_route(client, caplog):
    caplog.handler.setFormatter(TextLines())
    caplog.set_level(logging.INFO, "latentmill.http")
    client.get("/v1/models/mdl_nothing?wait=0", headers={"X-Request-Id": "counted"})
    client.get("/healthz")
    (line,) = [line for line in caplog.text.splitlines() if "latentmill.http" in line]
    assert re.search(
        r"GET /v1/models/\{model\} 404 in [0-9.]+ ms \[request_id=counted tenant=ten_\w+ key=key_\w+\]$", line
    )
