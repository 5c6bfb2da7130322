"""Previews on the real stack: the very rows of a job, pictures, and how long a warm one takes."""

import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from latentmill import Client
from latentmill.stack import Stack

INDICES = [2_999, 0, 1_023, 1_024, 5]


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def dataset(client: Client) -> Any:
    digits = load_digits()
    images = (digits.images[:300] / 16 * 255).astype(np.uint8)
    return client.datasets.add(images, labels=digits.target[:300], name="preview-rows").wait()


def preview(http: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = http.post("/v1/previews", json=body)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


@pytest.mark.parametrize("kind", ["prior", "posterior"])
def test_a_preview_shows_the_very_rows_of_a_job(http, client, demo_model, dataset, tmp_path: Path, kind) -> None:
    strategy = {"kind": kind} if kind == "prior" else {"kind": kind, "dataset": dataset.id}
    job = client.jobs.create(
        demo_model, strategy=strategy, rows=3_000, seed=4, shard_rows=1_000, include_latents=True
    ).wait()
    shards = [np.load(path) for path in sorted(job.download(tmp_path).glob("data-*.npz"))]
    stored = {name: np.concatenate([shard[name] for shard in shards]) for name in ("rows", "latents")}
    seen = preview(http, job=job.id, indices=INDICES, include_latents=True)
    np.testing.assert_array_equal(np.array(seen["rows"], np.uint8), stored["rows"][INDICES])
    np.testing.assert_array_equal(np.array(seen["latents"], np.float32), stored["latents"][INDICES])
    assert (seen["job"], seen["seed"], seen["indices"], seen["labels"]) == (job.id, 4, INDICES, None)
    assert (seen["execution"], seen["warnings"]) == (job.manifest()["executions"][0], [])
    # Without the job: the same strategy and seed give the same rows.
    alike = preview(http, model=demo_model.id, strategy=strategy, seed=4, indices=INDICES)
    assert alike["rows"] == seen["rows"]


def test_labels_and_sampled_rows_of_a_job_are_shown_as_they_are(http, client, demo_model, dataset, tmp_path) -> None:
    fit = client.fits.create(
        demo_model, dataset, family={"kind": "gaussian", "covariance": "diagonal"}, by_label=True
    ).wait()
    strategy = {"kind": "aggregate", "fit": fit.id, "labels": {"counts": {"3": 200, "7": 100}}}
    job = client.jobs.create(demo_model, strategy=strategy, rows=300, seed=6, output="sample").wait()
    with np.load(next(job.download(tmp_path).glob("data-*.npz"))) as shard:
        stored = {name: shard[name] for name in ("rows", "labels")}
    indices = [299, 4, 130]
    seen = client.previews.create(demo_model, job=job, indices=indices, strategy=strategy, output="sample")
    np.testing.assert_array_equal(seen.rows, stored["rows"][indices])
    assert seen.labels == stored["labels"][indices].tolist()
    along = {"kind": "interpolate", "dataset": dataset.id, "pairs": [[0, 1]], "steps": 5}
    assert preview(http, model=demo_model.id, strategy=along)["indices"] == [0, 1, 2, 3, 4]
    past = http.post("/v1/previews", json={"model": demo_model.id, "strategy": along, "indices": [5]}).json()
    assert past["errors"][0]["pointer"] == "/indices/0"


@pytest.mark.parametrize("format", ["npz", "parquet"])
def test_rows_of_committed_shards_are_shown(client, demo_model, http, format) -> None:
    body = {"strategy": {"kind": "prior"}, "rows": 300, "seed": 5, "shard_rows": 128, "include_latents": True}
    job = client.jobs.create(demo_model, format=format, **body).wait()
    answer = http.get(f"/v1/jobs/{job.id}/rows", params={"first": 120, "count": 150})
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert (shown["object"], shown["job"], shown["first"], shown["count"]) == ("rows", job.id, 120, 150)
    ends = preview(http, job=job.id, indices=[120, 128, 269], include_latents=True)
    for name in ("rows", "latents"):
        assert [shown[name][place] for place in (0, 8, 149)] == ends[name]
    assert np.array(shown["rows"]).shape == (150, 1, 8, 8)
    assert len(http.get(f"/v1/jobs/{job.id}/rows", params={"first": 290}).json()["rows"]) == 10


def test_a_warm_preview_is_there_at_once(http, demo_model) -> None:
    body = {"model": demo_model.id, "strategy": {"kind": "prior"}, "rows": 16, "seed": 1}
    preview(http, **body)
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        preview(http, **body)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 1, seconds


def test_a_png_has_the_pixels_of_the_rows(http, demo_model) -> None:
    body = {"model": demo_model.id, "strategy": {"kind": "prior", "temperature": 0.5}, "rows": 11, "seed": 8}
    rows = np.array(preview(http, **body)["rows"], np.uint8)
    answer = http.post("/v1/previews", json=body, headers={"Accept": "image/png"})
    assert answer.headers["Content-Type"] == "image/png"
    grid = np.asarray(Image.open(BytesIO(answer.content)))
    assert grid.shape == (2 * 66 + 2, 8 * 66 + 2)  # 8 x 8 pixels, each 8 x 8, and gaps of 2
    np.testing.assert_array_equal(grid[2:66:8, 2:66:8], rows[0, 0])
    np.testing.assert_array_equal(grid[68:132:8, 2 + 2 * 66 : 66 + 2 * 66 : 8], rows[10, 0])
