"""What strangers may send to the real stack: refused in words that help, with the bytes gone and nothing half-made."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

from latentmill import Client, export_vae
from latentmill.errors import DataError, InvalidBundle, InvalidDataset, InvalidLabels, LatentmillError, ModelMismatch
from latentmill.stack import Stack
from tests.acceptance.conftest import DEMO_BUNDLE
from tests.files import files_in

LINEAR = {"layer": "Linear", "in_features": 2, "out_features": 3, "id": "out"}
WEIGHTS = {"decoder.out.weight": torch.ones(3, 2), "decoder.out.bias": torch.zeros(3)}


def manifest(*steps: dict) -> dict:
    return {
        "schema": 1,
        "name": "small",
        "engine": "torch",
        "latent": {"shape": [2]},
        "rows": {"kind": "tensor", "shape": [3]},
        "architecture": {"name": "sequential", "decoder": list(steps)},
    }


def bundle(described: dict, weights: dict | None = None, **members: bytes) -> bytes:
    """A bundle; `members` adds files or replaces them by name, with __ for a dot."""
    content = {"vae.json": json.dumps(described).encode(), "weights.safetensors": save(weights or WEIGHTS)}
    content |= {name.replace("__", "."): value for name, value in members.items()}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in content.items():
            if value:
                archive.writestr(name, value)
    return file.getvalue()


def half_pickle() -> bytes:
    return bundle(manifest(LINEAR), data__pkl=pickle.dumps({"weights": [1.0]}))


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "not a zip": (lambda: b"no zip at all" * 100, "zip"),
    "a zip bomb": (lambda: bundle(manifest(LINEAR), weights__safetensors=bytes(200_000_000)), "weights.safetensors"),
    "a pickle inside": (half_pickle, "pickle"),
    "missing weights": (lambda: bundle(manifest(LINEAR), weights__safetensors=b""), "weights.safetensors"),
    "missing tensors": (
        lambda: bundle(manifest(LINEAR), {"decoder.out.bias": torch.zeros(3)}),
        "decoder.out.weight",
    ),
    "a shape that does not match": (
        lambda: bundle(manifest(LINEAR), WEIGHTS | {"decoder.out.weight": torch.ones(3, 5)}),
        "decoder.out.weight",
    ),
    "rows of another shape": (lambda: bundle(manifest(LINEAR, {"layer": "Reshape", "shape": [1, 3]})), "[3]"),
    "NaN weights": (
        lambda: bundle(manifest(LINEAR), WEIGHTS | {"decoder.out.bias": torch.tensor([0.0, float("nan"), 0.0])}),
        "decoder.out.bias",
    ),
    "an unknown layer": (lambda: bundle(manifest({"layer": "Exec", "id": "out"})), "Exec"),
}


def stored(stack: Stack) -> set[str]:
    return files_in(stack.data_dir / "files")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_bundle_is_rejected_and_its_bytes_go(name: str, client: Client, stack: Stack, tmp_path: Path) -> None:
    make, says = HOSTILE[name]
    path = tmp_path / "hostile.vae.zip"
    path.write_bytes(make())
    before = stored(stack)
    model = client.models.add(path)
    with pytest.raises(InvalidBundle) as refused:
        model.wait()
    assert says in refused.value.detail
    model.refresh()
    assert (model.state, model.data["error"]["code"]) == ("rejected", "invalid_bundle")
    assert model.data["executions"] == {}
    assert stored(stack) == before
    with pytest.raises(LatentmillError) as not_ready:
        client.jobs.create(model, strategy={"kind": "prior"}, rows=1)
    assert not_ready.value.code == "not_ready"


def test_a_hostile_dataset_is_rejected_and_its_bytes_go(client: Client, stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
    before = stored(stack)
    dataset = client.datasets.add(path)
    with pytest.raises(InvalidDataset, match="pickle"):
        dataset.wait()
    assert dataset.refresh().state == "rejected"
    assert stored(stack) == before


def test_rows_of_another_shape_fail_the_fit_in_words(client: Client, demo_model) -> None:
    dataset = client.datasets.add(np.zeros((200, 5, 5), np.uint8)).wait()
    with pytest.raises(ModelMismatch, match=r"5, 5"):
        client.fits.create(demo_model, dataset, family={"kind": "gaussian"})


def test_floats_out_of_range_fail_the_fit_in_words(client: Client, demo_model) -> None:
    rows = np.random.default_rng(0).random((200, 8, 8), dtype=np.float32)
    rows[17, 3, 3] = 40.0
    fit = client.fits.create(demo_model, client.datasets.add(rows).wait(), family={"kind": "gaussian"})
    with pytest.raises((InvalidDataset, DataError), match=r"\b17\b"):
        fit.wait()
    assert fit.refresh().state == "failed"


def test_labels_for_an_unconditional_model_are_refused(client: Client, demo_model) -> None:
    strategy = {"kind": "prior", "labels": {"counts": {"0": 5}}}
    with pytest.raises(InvalidLabels):
        client.jobs.create(demo_model, strategy=strategy, rows=5)


def test_a_fit_of_another_model_is_refused(client: Client, demo_model, tmp_path: Path) -> None:
    path = tmp_path / "small.vae.zip"
    path.write_bytes(bundle(manifest(LINEAR)))
    other = client.models.add(path).wait()
    latents = {"mean": np.random.default_rng(1).normal(size=(300, 2)), "std": np.full((300, 2), 0.5)}
    np.savez(tmp_path / "latents.npz", **latents)
    dataset = client.datasets.add(tmp_path / "latents.npz", kind="latents").wait()
    fit = client.fits.create(other, dataset, family={"kind": "gaussian"}).wait()
    with pytest.raises(ModelMismatch, match=fit.id):
        client.jobs.create(demo_model, strategy={"kind": "aggregate", "fit": fit.id}, rows=5)


def test_a_head_that_decoding_contradicts_gets_a_warning_that_names_what_works(client: Client, tmp_path: Path) -> None:
    """The demo's VAE, declared to give standard deviations where it gives log variances."""
    from latentmill.demo import digits

    with zipfile.ZipFile(DEMO_BUNDLE) as archive:
        described = json.loads(archive.read("vae.json"))
        weights = archive.read("weights.safetensors")
    assert described["encoder"]["scale"] == "log_variance"
    described["encoder"]["scale"] = "std"
    path = tmp_path / "wrong.vae.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("vae.json", json.dumps(described))
        archive.writestr("weights.safetensors", weights)
    model = client.models.add(path).wait()
    dataset = client.datasets.add(digits.load().training).wait()
    fit = client.fits.create(model, dataset, family={"kind": "gaussian"}).wait()
    assert any("log_variance" in warning for warning in fit.warnings), fit.warnings


def test_a_conditional_model_makes_the_labels_that_are_asked_for(client: Client, tmp_path: Path) -> None:
    class Decoder(nn.Module):
        """Gives back what it is told: the latents, then the one-hot label."""

        def __init__(self) -> None:
            super().__init__()
            self.all = nn.Linear(5, 5)
            nn.init.eye_(self.all.weight)
            nn.init.zeros_(self.all.bias)

        def forward(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.all(torch.cat([z, y], dim=1))

    export_vae(
        tmp_path / "told.vae.zip",
        name="told",
        encoder=None,
        decoder=Decoder(),
        rows={"kind": "tensor", "shape": [5]},
        latent_shape=[2],
        labels={"classes": ["a", "b", "c"]},
        likelihood={"kind": "point"},
    )
    model = client.models.add(tmp_path / "told.vae.zip").wait()
    strategy = {"kind": "prior", "labels": {"counts": {"a": 10, "b": 500, "c": 2490}}}
    job = client.jobs.create(model, strategy=strategy, rows=3000, seed=2, shard_rows=1100).wait()
    folder = job.download(tmp_path / "out")
    shards = [np.load(path) for path in sorted(folder.glob("data-*.npz"))]
    labels = np.concatenate([shard["labels"] for shard in shards])
    rows = np.concatenate([shard["rows"] for shard in shards])
    assert {name: int((labels == name).sum()) for name in "abc"} == {"a": 10, "b": 500, "c": 2490}
    assert np.array_equal(np.array(list("abc"))[rows[:, 2:].argmax(axis=1)], labels)
    assert len(set(labels[:200].tolist())) > 1, "rows are interleaved, not sorted by label"
    balanced = client.jobs.create(model, strategy={"kind": "prior", "labels": "balanced"}, rows=10).wait()
    labels = np.load(next(balanced.download(tmp_path / "even").glob("data-*.npz")))["labels"]
    assert sorted((labels == name).sum() for name in "abc") == [3, 3, 4]
