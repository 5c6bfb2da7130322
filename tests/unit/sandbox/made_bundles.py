"""Bundles, valid ones and ones that lie: in their zip, their manifest, the header of their weights and the weights."""

import io
import json
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator

from tests.unit.sandbox.mutations import JSON_VALUES, NUMBERS, mutated, pick, spoilt
from workers.models import load_vae, open_bundle
from workers.models.architectures.sequential.architecture import ALLOWED
from workers.models.limits import BundleLimits

LIMITS = BundleLimits(parameters=10**6, step_values=2**18, program_values=2**20, weights_bytes=2**23)
STEPS = 12
ROW = [1, 8, 8]
DECODER: list[dict[str, Any]] = [
    {"id": "wide", "layer": "Linear", "in_features": 2, "out_features": 16},
    {"id": "active", "layer": "ReLU"},
    {"id": "picture", "layer": "Reshape", "shape": [1, 4, 4]},
    {"id": "larger", "layer": "ConvTranspose2d", "in_channels": 1, "out_channels": 1, "kernel_size": 4, "stride": 2,
     "padding": 1},
    {"id": "end", "layer": "Sigmoid"},
]  # fmt: skip
ENCODER: dict[str, Any] = {
    "steps": [
        {"id": "flat", "layer": "Flatten"},
        {"id": "mean", "layer": "Linear", "in_features": 64, "out_features": 2, "inputs": ["flat"]},
        {"id": "scale", "layer": "Linear", "in_features": 64, "out_features": 2, "inputs": ["flat"]},
    ],
    "outputs": ["mean", "scale"],
}
MANIFEST: dict[str, Any] = {
    "schema": 1, "name": "fuzz", "engine": "torch", "latent": {"shape": [2]},
    "rows": {"kind": "image", "shape": ROW, "range": [0, 1]}, "encoder": {"scale": "log_variance", "head": "pair"},
    "prior": {"kind": "standard_normal"}, "likelihood": {"kind": "bernoulli"}, "labels": None,
    "architecture": {"name": "sequential", "encoder": ENCODER, "decoder": DECODER},
}  # fmt: skip
NAMED = (
    {**MANIFEST, "architecture": {"name": "mlp", "hidden": [8, 4], "activation": "relu", "output": "sigmoid"}},
    {**MANIFEST, "architecture": {"name": "conv", "channels": [2, 2], "hidden": [8]}},
)
WEIGHTS = {
    "decoder.wide.weight": (16, 2), "decoder.wide.bias": (16,), "decoder.larger.weight": (1, 1, 4, 4),
    "decoder.larger.bias": (1,), "encoder.mean.weight": (2, 64), "encoder.mean.bias": (2,),
    "encoder.scale.weight": (2, 64), "encoder.scale.bias": (2,),
}  # fmt: skip
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)


def hostile_bundle(random: Generator) -> bytes:
    """A bundle with something wrong somewhere, or with nothing wrong."""
    manifest: Any = MANIFEST if random.random() < 0.8 else pick(random, NAMED)
    if random.random() < 0.5:
        manifest = spoilt(random, manifest)
    if random.random() < 0.3:
        manifest = _with_steps(random)
    weights = _safetensors(random, WEIGHTS)
    if random.random() < 0.2:
        weights = mutated(random, weights, weights)
    members = {"vae.json": json.dumps(manifest, default=str).encode("utf-8", "surrogatepass"),
               "weights.safetensors": weights}  # fmt: skip
    if random.random() < 0.1:
        members["prior.safetensors"] = _safetensors(random, {"weights": (2,), "means": (2, 2), "variances": (2, 2)})
    data = _zipped(random, members)
    return mutated(random, data, data) if random.random() < 0.2 else data


def opened(path: Path) -> None:
    """All that happens to an uploaded bundle, but for the measuring."""
    vae = load_vae(open_bundle(path, limits=LIMITS))
    latents = torch.zeros(2, vae.manifest.latent.size)
    labels = None if vae.manifest.labels is None else torch.zeros(2, dtype=torch.int64)
    vae.decode_with_std(latents, labels)
    if vae.manifest.encoder is not None:
        vae.encode(torch.zeros(2, *vae.manifest.rows.shape), labels)


def _with_steps(random: Generator) -> dict[str, Any]:
    """Any of the layers with any numbers: most are refused, and none may do more than that."""
    steps = []
    for _ in range(int(random.integers(1, STEPS))):
        name = pick(random, list(ALLOWED))
        step: dict[str, Any] = {"layer": name}
        for number in ALLOWED[name].numbers:
            if random.random() < 0.7:
                step[number] = pick(
                    random, (1, 2, 3, 4, 16, 64, -1, 2**24, 1.5, True, [1, 1], [2, 2], [16384, 16384], None)
                )
        if random.random() < 0.05:
            step[pick(random, ("inputs", "id", "layer"))] = pick(random, JSON_VALUES)
        steps.append(step)
    network = {"steps": steps if random.random() < 0.5 else [*DECODER[:3], *steps]}
    return {**MANIFEST, "encoder": None, "architecture": {"name": "sequential", "decoder": network}}


def _safetensors(random: Generator, shapes: dict[str, tuple[int, ...]]) -> bytes:
    header: dict[str, Any] = {}
    data = bytearray()
    for name, shape in shapes.items():
        size = 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [len(data), len(data) + size]}
        values = random.standard_normal(int(np.prod(shape))).astype("<f4")
        if random.random() < 0.01:
            values[0] = pick(random, (np.nan, np.inf, 3e38))
        data += values.tobytes()
    if random.random() < 0.25:
        header = spoilt(random, header)
    text = json.dumps(header, default=str).encode("utf-8", "surrogatepass")
    length = len(text) if random.random() < 0.97 else pick(random, NUMBERS) % 2**64
    return struct.pack("<Q", length) + text + bytes(data)


def _zipped(random: Generator, members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name if random.random() < 0.98 else pick(random, ("../vae.json", "a.pkl", "")))
            entry.compress_type = pick(random, METHODS) if random.random() < 0.3 else zipfile.ZIP_STORED
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of a name that stands twice: that is meant
                archive.writestr(entry, content)
    return buffer.getvalue()
