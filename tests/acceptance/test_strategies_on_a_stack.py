"""Every way to choose latents, labels and outputs, on the real stack: what arrives is what was asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from latentmill import Client
from latentmill.resources.resource import Resource


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    loaded = load_digits()
    return (loaded.images / 16 * 255).astype(np.uint8), loaded.target


@pytest.fixture
def dataset(client: Client, digits: tuple[np.ndarray, np.ndarray]) -> Resource:
    return client.datasets.add(digits[0], labels=digits[1], name="strategies-digits").wait()


@pytest.fixture
def made(client: Client, demo_model: Resource, tmp_path: Path):
    """The arrays of a job, shard after shard, and its manifest."""

    def make(strategy: dict[str, Any], rows: int, **choices: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        job = client.jobs.create(demo_model, strategy=strategy, rows=rows, seed=9, include_latents=True, **choices)
        folder = job.wait().download(tmp_path / str(job.id))
        shards = [np.load(path) for path in sorted(folder.glob("data-*.npz"))]
        return {name: np.concatenate([shard[name] for shard in shards]) for name in shards[0]}, job.manifest()

    return make


def test_a_fit_by_label_draws_each_label_from_its_own_density(client, demo_model, dataset, made, digits) -> None:
    fit = client.fits.create(demo_model, dataset, family={"kind": "gaussian"}, by_label=True).wait()
    strategy = {"kind": "aggregate", "fit": fit.id}
    counts = {str(number): 100 * (number + 1) for number in range(10)}
    arrays, manifest = made({**strategy, "labels": {"counts": counts}}, 5_500, shard_rows=1_500)
    assert dict(zip(*np.unique(arrays["labels"], return_counts=True), strict=True)) == counts
    assert manifest["labels"] == counts
    parameters = fit.parameters()
    for name, rows in counts.items():
        latents = arrays["latents"][arrays["labels"] == name].astype(np.float64)
        error = latents.mean(axis=0) - parameters[f"label.{name}.mean"]
        covariance = parameters[f"label.{name}.covariance"]
        # Hotelling's statistic, chi-square with 10 degrees of freedom; 45 is passed once in 450,000.
        assert rows * error @ np.linalg.solve(covariance, error) < 45
    _, fitted = made(strategy, 1_797)
    assert fitted["strategy"]["labels"] == "as_fitted"
    assert sum(fitted["labels"].values()) == 1_797
    real = np.bincount(digits[1])
    assert all(abs(fitted["labels"][str(number)] - real[number]) <= 2 for number in range(10))


def test_paths_begin_and_end_with_the_reconstructions(dataset, made) -> None:
    around = {"kind": "posterior", "dataset": dataset.id, "select": {"rows": [3, 8, 40]}, "temperature": 0}
    ends, _ = made(around, 3)
    path = {"kind": "interpolate", "dataset": dataset.id, "pairs": [[3, 8], [8, 40]], "steps": 9, "path": "spherical"}
    arrays, manifest = made(path, 18, shard_rows=7)
    found = arrays["latents"].reshape(2, 9, -1)
    np.testing.assert_array_equal(found[:, [0, -1]].reshape(4, -1), ends["latents"][[0, 1, 1, 2]])
    np.testing.assert_array_equal(arrays["rows"][[0, 8, 9, 17]], ends["rows"][[0, 1, 1, 2]])
    assert len(manifest["shards"]) == 3


def test_sampled_pixels_are_as_white_as_the_mean_is_grey(dataset, made) -> None:
    """4,000 draws around one row: each pixel within 5 standard errors, and the rounding to 255 levels, of its mean."""
    one = {"kind": "posterior", "dataset": dataset.id, "select": {"rows": [5]}, "temperature": 0}
    means, _ = made(one, 1)
    sampled, manifest = made(one, 4_000, output="sample", shard_rows=1_100)
    again, _ = made(one, 4_000, output="sample")
    assert manifest["output"] == "sample"
    np.testing.assert_array_equal(sampled["rows"], again["rows"])
    assert set(np.unique(sampled["rows"])) == {0, 255}
    p = means["rows"][0] / 255
    share = (sampled["rows"] == 255).mean(axis=0)
    assert (np.abs(share - p) <= 5 * np.sqrt(p * (1 - p) / 4_000) + 1 / 255).all()
