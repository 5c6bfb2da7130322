"""Bundles that say of themselves that they are bundles, and cannot be: refused over HTTP with the way out.

The long list, in-process, stands in tests/unit/onnx and tests/unit/test_bundles_hostile.py.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import ModelProto, TensorProto, helper

from latentmill import Client
from latentmill.errors import InvalidBundle
from latentmill.resources.resource import Resource
from tests.acceptance.test_refusals import LINEAR, WEIGHTS, bundle, manifest
from tests.unit.onnx.made_graphs import (
    LATENT,
    MANIFEST,
    ROW,
    WEIGHT,
    WITH_ENCODER,
    decoder,
    graph_of,
    node,
    value,
    write,
)

Z, X = value("z", "N", LATENT), value("x", "N", ROW)


def external() -> ModelProto:
    model = decoder()
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="decoder.onnx.data")
    return model


def custom() -> ModelProto:
    other = helper.make_node("Attend", ["z", "W"], ["x"], name="attend_0", domain="my.kernels")
    return decoder(other, opsets=[helper.make_opsetid("my.kernels", 1)])


def flow(operator: str) -> ModelProto:
    """A decoder that loops, scans or branches."""
    body = helper.make_graph([node("Identity", "z", "x")], "body", [], [value("x", "N", ROW)])
    attributes = {
        "Loop": {"body": body},
        "Scan": {"body": body, "num_scan_inputs": 1},
        "If": {"then_branch": body, "else_branch": body},
    }[operator]
    return decoder(node(operator, "c c z" if operator == "Loop" else "z", "x", **attributes))


def scaled_by_one() -> ModelProto:
    """A hyperspherical encoder: a direction of length 1, and one concentration."""
    nodes = [
        node("MatMul", "x V", "h"),
        node("LpNormalization", "h", "mean", axis=1),
        node("MatMul", "x k", "scale"),
    ]
    weights = {"V": WEIGHT.T.copy(), "k": np.ones((ROW, 1), np.float32)}
    return graph_of(nodes, [X], [value("mean", "N", LATENT), value("scale", "N", 1)], weights)


def codes() -> ModelProto:
    """A VQ-VAE's encoder: the number of the nearest entry."""
    nodes = [node("MatMul", "x V", "h"), node("ArgMin", "h", "mean", axis=1, keepdims=1)]
    return graph_of(nodes, [X], [value("mean", "N", 1, kind=TensorProto.INT64)], {"V": WEIGHT.T.copy()})


def mismatched() -> ModelProto:
    nodes = [node("MatMul", "x V", "mean"), node("Neg", "mean", "scale")]
    wide = np.ones((ROW, 5), np.float32)
    return graph_of(nodes, [X], [value("mean", "N", 5), value("scale", "N", 5)], {"V": wide})


def torch_encoder(*steps: dict, outputs: list[str], **weights: torch.Tensor) -> bytes:
    described = manifest(LINEAR)
    described["encoder"] = {"scale": "log_variance", "head": "pair"}
    described["architecture"]["encoder"] = {"steps": list(steps), "outputs": outputs}
    named = {f"encoder.{name.replace('__', '.')}": tensor for name, tensor in weights.items()}
    return bundle(json.loads(json.dumps(described)), {**WEIGHTS, **named})


def linear(name: str, size: int) -> dict:
    return {"layer": "Linear", "id": name, "inputs": ["x"], "in_features": 3, "out_features": size, "bias": False}


def torch_mismatched() -> bytes:
    steps = [linear("mean", 5), linear("scale", 5)]
    return torch_encoder(
        *steps, outputs=["mean", "scale"], mean__weight=torch.ones(5, 3), scale__weight=torch.ones(5, 3)
    )


def torch_spherical() -> bytes:
    steps = [linear("mean", 2), linear("scale", 1)]
    return torch_encoder(
        *steps, outputs=["mean", "scale"], mean__weight=torch.ones(2, 3), scale__weight=torch.ones(1, 3)
    )


DETERMINISTIC = {**MANIFEST, "encoder": {"scale": "none"}, "latent": {"shape": [1]}}
Make = Callable[[Path], object]
REFUSED: dict[str, tuple[Make, tuple[str, ...]]] = {
    "external data": (
        lambda path: write(path, MANIFEST, external()),
        ("'W'", "external data", "save_as_external_data=False"),
    ),
    "custom operators": (
        lambda path: write(path, MANIFEST, custom()),
        ("'attend_0'", "my.kernels", "standard operators"),
    ),
    "a loop": (lambda path: write(path, MANIFEST, flow("Loop")), ("Loop", "control flow")),
    "a scan": (lambda path: write(path, MANIFEST, flow("Scan")), ("Scan", "control flow")),
    "a branch": (lambda path: write(path, MANIFEST, flow("If")), ("If", "control flow")),
    "a fixed batch axis": (
        lambda path: write(
            path, MANIFEST, graph_of([node("MatMul", "z W", "x")], [value("z", 4, LATENT)], [X], {"W": WEIGHT})
        ),
        ("'z'", "fixed batch axis of 4", "dynamic_shapes"),
    ),
    "an output of another name": (
        lambda path: write(
            path, MANIFEST, graph_of([node("MatMul", "z W", "rows")], [Z], [value("rows", "N", ROW)], {"W": WEIGHT})
        ),
        ("no output 'x'", "'rows'", "output_names=['x']"),
    ),
    "rows of another shape": (
        lambda path: write(path, {**MANIFEST, "rows": {"kind": "tensor", "shape": [4]}}),
        ("[3]", "[4]", "Reshape"),
    ),
    "an encoder of other latents": (
        lambda path: write(path, WITH_ENCODER, encoder__onnx=mismatched()),
        ("mean", "[1, 5]", "belong together"),
    ),
    "an encoder of other latents, torch": (
        lambda path: path.write_bytes(torch_mismatched()),
        ("mean", "5]", "belong together"),
    ),
    "a hyperspherical VAE": (
        lambda path: write(path, WITH_ENCODER, encoder__onnx=scaled_by_one()),
        ("[1, 1]", "hyperspherical", "gaussian latents"),
    ),
    "a hyperspherical VAE, torch": (
        lambda path: path.write_bytes(torch_spherical()),
        ("1]", "hyperspherical", "gaussian latents"),
    ),
    "a VQ-VAE": (
        lambda path: write(
            path,
            DETERMINISTIC,
            graph_of([node("MatMul", "z W", "x")], [value("z", "N", 1)], [X], {"W": WEIGHT[:1]}),
            encoder__onnx=codes(),
        ),
        ("'mean'", "VQ-VAE", "gaussian latents"),
    ),
    "both engines": (
        lambda path: write(path, MANIFEST, weights__safetensors=b"x"),
        ("weights.safetensors", "decoder.onnx", "leave out"),
    ),
}


@pytest.fixture(scope="module")
def answers(stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Resource]:
    """All of them posted before any is waited for."""
    client = Client(url=stack.url, api_key=stack.api_key)
    folder = tmp_path_factory.mktemp("refused")
    posted = {}
    for name, (make, _) in REFUSED.items():
        path = folder / f"{name}.vae.zip"
        make(path)
        posted[name] = client.models.add(path)
    return posted


@pytest.mark.parametrize("name", REFUSED)
def test_a_bundle_that_cannot_be_run_is_refused_with_the_way_out(name: str, answers: dict[str, Resource]) -> None:
    with pytest.raises(InvalidBundle) as refused:
        answers[name].wait()
    for words in REFUSED[name][1]:
        assert words in refused.value.detail, refused.value.detail
    assert answers[name].refresh().state == "rejected"
