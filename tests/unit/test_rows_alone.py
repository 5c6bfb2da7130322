"""Rows that depend on their batch are found in bundles of the engine torch, too."""

import json
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from latentmill.errors import InvalidBundle
from workers.models.inspection import inspect_bundle


def bundle(path: Path, *steps: dict) -> Path:
    linear = {"id": "out", "layer": "Linear", "in_features": 2, "out_features": 3}
    manifest = {
        "schema": 1,
        "name": "small",
        "engine": "torch",
        "latent": {"shape": [2]},
        "rows": {"kind": "tensor", "shape": [3]},
        "architecture": {"name": "sequential", "decoder": [linear, *steps]},
    }
    weights = {"decoder.out.weight": torch.arange(6.0).reshape(3, 2), "decoder.out.bias": torch.zeros(3)}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("vae.json", json.dumps(manifest))
        archive.writestr("weights.safetensors", save(weights))
    return path


def test_a_softmax_over_the_values_of_a_row_passes_and_one_over_the_batch_does_not(tmp_path):
    inspect_bundle(bundle(tmp_path / "a.zip", {"layer": "Softmax", "dim": 1}), devices=["cpu"], threads=1)
    with pytest.raises(InvalidBundle, match="A row must depend on its own input alone"):
        inspect_bundle(bundle(tmp_path / "b.zip", {"layer": "Softmax", "dim": -2}), devices=["cpu"], threads=1)
