"""The contract to the letter, by raw requests to the real stack."""

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save
from sklearn.datasets import load_digits

from latentmill.stack import Stack
from tests.acceptance.conftest import DEMO_BUNDLE

RESOURCE = {"object", "id", "name", "state", "created_at", "error", "warnings", "metadata"}
JOB = RESOURCE | {
    "state_reason", "spec", "seed", "progress", "queued_at", "started_at", "finished_at", "cancelled_at", "urls"
}  # fmt: skip
PROGRESS = {"rows_done", "rows_total", "shards_done", "shards_total", "bytes", "rows_per_s", "eta_s"}
MANIFEST = {
    "schema", "job", "created_at", "rows", "seed", "noise", "model", "fit", "strategy", "output", "format",
    "row_kind", "shape", "dtype", "executions", "shards",
}  # fmt: skip


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def images() -> "np.ndarray[Any, Any]":
    return (load_digits().images[:200] / 16 * 255).astype(np.uint8)


def uploaded(http: httpx.Client, to: str, filename: str, data: bytes, **fields: str) -> str:
    answer = http.post(f"/v1/{to}", files={"file": (filename, data)}, data=fields)
    assert answer.status_code in {200, 202}, answer.text
    settled = http.get(f"{answer.headers['Location']}?wait=30").json()
    assert settled["state"] == "ready", settled
    assert settled.keys() >= RESOURCE
    return str(settled["id"])


def made(http: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = http.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = http.get(f"{answer.headers['Location']}?wait=30").json()
    assert job["state"] == "succeeded", job
    return job


def shard(http: httpx.Client, job: dict[str, Any], index: int = 0) -> bytes:
    return http.get(f"{job['urls']['shards']}/{index}").content


def test_temperature_zero_reconstructs_the_named_rows(http, images):
    uploaded(http, "models", "digits.vae.zip", DEMO_BUNDLE.read_bytes(), name="contract-digits")
    buffer = io.BytesIO()
    np.savez(buffer, rows=images)
    uploaded(http, "datasets", "digits.npz", buffer.getvalue(), name="contract-rows", metadata='{"of": "digits"}')
    strategy = {"kind": "posterior", "dataset": "contract-rows", "select": {"rows": [5, 0, 7]}, "temperature": 0}
    job = made(http, model="contract-digits", strategy=strategy, rows=7, seed=3, include_latents=True)
    assert job.keys() >= JOB
    assert job["progress"].keys() == PROGRESS
    with np.load(io.BytesIO(shard(http, job))) as file:
        rows, latents = file["rows"], file["latents"]
    assert (rows.dtype, rows.shape, latents.shape) == (np.uint8, (7, 1, 8, 8), (7, 10))
    np.testing.assert_array_equal(rows[:3], rows[3:6])
    error = np.abs(rows[:3, 0].astype(float) - images[[5, 0, 7]]).mean()
    others = np.abs(rows[:3, 0].astype(float) - images[[50, 60, 70]]).mean()
    assert error < others / 2
    manifest = http.get(job["urls"]["manifest"]).json()
    assert manifest.keys() >= MANIFEST
    assert manifest["shards"][0]["name"] == "data-00000-of-00001.npz"
    sums = http.get(f"{job['urls']['self']}/files/SHA256SUMS").text
    assert f"{manifest['shards'][0]['sha256']}  data-00000-of-00001.npz" in sums.splitlines()


def test_labels_are_counted_exactly_and_parquet_loads_with_pandas(http):
    uploaded(http, "models", "conditional.vae.zip", conditional_bundle(), name="contract-conditional")
    strategy = {"kind": "prior", "labels": {"counts": {"cat": 5, "dog": 20}}}
    job = made(http, model="contract-conditional", strategy=strategy, rows=25, shard_rows=10, format="parquet")
    frames = [pd.read_parquet(io.BytesIO(shard(http, job, index))) for index in range(3)]
    assert [len(frame) for frame in frames] == [10, 10, 5]
    labels = pd.concat(frames)["labels"]
    assert labels.value_counts().to_dict() == {"dog": 20, "cat": 5}
    assert labels.tolist() != sorted(labels)
    assert {len(row) for frame in frames for row in frame["rows"]} == {64}
    balanced = made(http, model="contract-conditional", strategy={"kind": "prior"}, rows=7)
    assert balanced["spec"]["strategy"]["labels"] == "balanced"
    with np.load(io.BytesIO(shard(http, balanced))) as file:
        assert sorted(np.unique(file["labels"], return_counts=True)[1]) == [3, 4]


def conditional_bundle() -> bytes:
    """A decoder alone that is given one of two labels."""
    described = {
        "schema": 1, "name": "conditional", "engine": "torch", "latent": {"shape": [3]},
        "rows": {"kind": "image", "shape": [1, 8, 8]}, "labels": {"classes": ["cat", "dog"]},
        "architecture": {"name": "mlp", "hidden": [4], "output": "sigmoid"},
    }  # fmt: skip
    noise = np.random.default_rng(0)
    shapes = {"hidden0.weight": (4, 5), "hidden0.bias": (4,), "out.weight": (64, 4), "out.bias": (64,)}
    weights = {f"decoder.{name}": noise.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("vae.json", json.dumps(described))
        file.writestr("weights.safetensors", save(weights))
    return buffer.getvalue()
