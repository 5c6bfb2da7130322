"""Real VAEs with weights that can be written down: x = W z, and an encoder that inverts it."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from workers.models import TorchVae, load_vae, open_bundle

LATENTS, WIDTH = 4, 16
STD = 0.05


def linear_vae(
    path: Path,
    *,
    rows: dict | None = None,
    classes: list[str] | None = None,
    true: tuple[str, str] = ("pair", "log_variance"),
    declared: tuple[str, str] | None = None,
    weights: dict | None = None,
    likelihood: dict | None = None,
    given: list[int] | None = None,
    prior: dict | None = None,
) -> TorchVae:
    """x = W z with W'W = I, mean = W'x, std = STD: heads laid out as `true` (head, scale) and declared as `declared`.

    With `classes` the decoder adds 10 times the number of the class to every value. Where the likelihood learns its
    std the decoder gives one of 0.5, -0.5, 0.5, ... With `given` its values have that shape, and there is no encoder.
    """
    w = np.linalg.qr(np.random.default_rng(5).standard_normal((WIDTH, LATENTS)))[0].astype(np.float32)
    encoder, outputs, tensors = encoder_of(w, *true)
    decoder = [linear("out", "z", LATENTS, WIDTH)]
    tensors |= {"decoder.out.weight": w, "decoder.out.bias": np.zeros(WIDTH, np.float32)}
    if classes:
        decoder += [
            linear("shift", "y", len(classes), WIDTH),
            {"id": "sum", "layer": "Add", "inputs": ["out", "shift"]},
        ]
        tensors["decoder.shift.weight"] = np.tile(10 * np.arange(len(classes), dtype=np.float32), (WIDTH, 1))
        tensors["decoder.shift.bias"] = np.zeros(WIDTH, np.float32)
    rows = rows or {"kind": "tensor", "shape": [WIDTH]}
    shape = given or rows.get("shape", [WIDTH])
    if len(shape) > 1:
        decoder.append({"id": "shaped", "layer": "Reshape", "shape": shape})
    decoded = {"steps": decoder}
    if (likelihood or {}).get("std") == "learned":
        decoded = {"steps": [*decoder, linear("std", "z", LATENTS, WIDTH)], "outputs": [decoder[-1]["id"], "std"]}
        tensors["decoder.std.weight"] = np.zeros((WIDTH, LATENTS), np.float32)
        tensors["decoder.std.bias"] = np.tile(np.array([0.5, -0.5], np.float32), WIDTH // 2)
    manifest = {
        "schema": 1,
        "name": "linear",
        "engine": "torch",
        "latent": {"shape": [LATENTS]},
        "rows": rows,
        "encoder": dict(zip(("head", "scale"), declared or true, strict=True)),
        "labels": {"classes": classes} if classes else None,
        "architecture": {
            "name": "sequential",
            "encoder": {"steps": encoder, "outputs": outputs},
            "decoder": decoded,
        },
        **({"likelihood": likelihood} if likelihood else {}),
        **({"prior": prior} if prior else {}),
    }
    tensors |= weights or {}
    if given:
        del manifest["encoder"], manifest["architecture"]["encoder"]
        tensors = {name: value for name, value in tensors.items() if name.startswith("decoder.")}
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("vae.json", json.dumps(manifest))
        bundle.writestr("weights.safetensors", save({name: np.ascontiguousarray(v) for name, v in tensors.items()}))
    return load_vae(open_bundle(path))


def encoder_of(w: np.ndarray, head: str, scale: str) -> tuple[list[dict], list[str], dict]:
    """Steps, outputs and weights of an encoder with mean W'x and a constant scale."""
    raw = {"log_variance": 2 * np.log(STD), "log_std": np.log(STD), "variance": STD**2, "std": STD, "none": 0.0}
    zeros, bias = np.zeros(LATENTS, np.float32), np.full(LATENTS, raw[scale], np.float32)
    flat = {"id": "flat", "layer": "Flatten", "inputs": ["x"]}
    if head == "pair":
        steps = [flat, linear("mu", "flat", WIDTH, LATENTS)]
        tensors = {"encoder.mu.weight": w.T, "encoder.mu.bias": zeros}
        if scale == "none":
            return steps, ["mu"], tensors
        tensors |= {"encoder.scale.weight": np.zeros_like(w.T), "encoder.scale.bias": bias}
        return [*steps, linear("scale", "flat", WIDTH, LATENTS)], ["mu", "scale"], tensors
    order = np.arange(2 * LATENTS)
    if head == "interleaved":
        order = order.reshape(2, LATENTS).T.reshape(-1)
    weight, both = np.concatenate([w.T, np.zeros_like(w.T)])[order], np.concatenate([zeros, bias])[order]
    steps = [flat, linear("both", "flat", WIDTH, 2 * LATENTS)]
    return steps, ["both"], {"encoder.both.weight": weight, "encoder.both.bias": both}


def linear(name: str, given: str, inputs: int, outputs: int) -> dict:
    return {"id": name, "layer": "Linear", "inputs": [given], "in_features": inputs, "out_features": outputs}


@pytest.fixture
def make_vae(tmp_path: Path) -> Callable[..., TorchVae]:
    """A linear VAE, written as a bundle and opened."""

    def make(**choices) -> TorchVae:
        return linear_vae(tmp_path / "linear.vae.zip", **choices)

    return make


@pytest.fixture
def planted_rows() -> np.ndarray:
    """Rows (500, WIDTH) that the linear VAE can carry: W z, z normal with std 0.5."""
    random = np.random.default_rng(6)
    w = np.linalg.qr(np.random.default_rng(5).standard_normal((WIDTH, LATENTS)))[0]
    return (0.5 * random.standard_normal((500, LATENTS)) @ w.T).astype(np.float32)
