"""What the processes of a real stack log: JSON lines, a request's id in all of them, and no key anywhere."""

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from latentmill.stack import Stack


@pytest.fixture
def lines(stack: Stack) -> Callable[[str], list[dict[str, Any]]]:
    """The lines that a process of the stack has logged; what is no JSON comes from Celery's and Valkey's own prints."""

    def read(process: str) -> list[dict[str, Any]]:
        texts = (stack.data_dir / "logs" / f"{process}.log").read_text().splitlines()
        return [json.loads(text) for text in texts if text.startswith("{")]

    return read


def test_a_request_can_be_followed_through_all_processes(stack, lines, demo_model) -> None:
    headers = {"Authorization": f"Bearer {stack.api_key}", "X-Request-Id": "followed-1"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=60, trust_env=False) as http:
        body = {"model": demo_model.id, "strategy": {"kind": "prior"}, "rows": 100}
        job = http.post("/v1/jobs", json=body).json()["id"]
    with httpx.Client(base_url=stack.url, headers={"Authorization": headers["Authorization"]}, timeout=60) as http:
        assert http.get(f"/v1/jobs/{job}", params={"wait": 50}).json()["state"] == "succeeded"

    def followed(process: str) -> list[str]:
        return [line["message"] for line in lines(process) if line.get("request_id") == "followed-1"]

    deadline = time.monotonic() + 10
    while not (any("finalize" in message for message in followed("prompt")) and followed("api")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [message.split(" in ")[0] for message in followed("api")] == ["POST /v1/jobs 202"]
    assert any(message.startswith(f"shard {job}") for message in followed("compute"))
    assert any(message.startswith(f"finalize {job}") for message in followed("prompt"))
    shown = next(line for line in lines("api") if line.get("route") == "/v1/jobs/{job}")
    assert {"method", "status", "milliseconds", "tenant", "key", "request_id", "process"} <= set(shown)


def test_no_file_of_the_logs_holds_the_key(stack, lines) -> None:
    with httpx.Client(base_url=stack.url, timeout=10, trust_env=False) as http:
        http.get("/v1/models", headers={"Authorization": f"Bearer {stack.api_key}x"})
        http.get(f"/v1/models/{stack.api_key}", headers={"Authorization": f"Bearer {stack.api_key}"})
    secret = stack.api_key.rpartition("_")[2]
    files = list((stack.data_dir / "logs").iterdir())
    assert len(files) > 4
    assert [file.name for file in files if secret in file.read_text("utf-8", "replace")] == []
    assert {line["status"] for line in lines("api") if "status" in line} >= {401, 404}
