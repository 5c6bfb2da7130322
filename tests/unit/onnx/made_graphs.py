"""Small ONNX graphs, made node by node, and bundles of them."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

OPSET = 18
IR_VERSION = 10
LATENT, ROW = 2, 3
WEIGHT = np.arange(LATENT * ROW, dtype=np.float32).reshape(LATENT, ROW)
MANIFEST: dict[str, Any] = {
    "schema": 1,
    "name": "small",
    "engine": "onnx",
    "latent": {"shape": [LATENT]},
    "rows": {"kind": "tensor", "shape": [ROW]},
    "likelihood": {"kind": "gaussian", "std": 0.1},
}
WITH_ENCODER = {**MANIFEST, "encoder": {"scale": "log_variance", "head": "pair"}}


def value(name: str, *shape: int | str | None, kind: int = TensorProto.FLOAT) -> ValueInfoProto:
    """An input or an output; a text is an axis of any length."""
    return helper.make_tensor_value_info(name, kind, list(shape))


def graph_of(
    nodes: list[NodeProto],
    inputs: list[ValueInfoProto],
    outputs: list[ValueInfoProto],
    weights: dict[str, Any] | None = None,
    *,
    opset: int = OPSET,
    **more: Any,
) -> ModelProto:
    """A model of these nodes; `weights` are arrays by name."""
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", opset), *more.pop("opsets", [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, **more)


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:
    """A node; inputs and outputs are names with spaces between, "_" for one that is left out."""
    names = [["" if name == "_" else name for name in text.split()] for text in (inputs, outputs)]
    return helper.make_node(kind, *names, name=f"{kind}_{names[1][0]}", **attributes)


def decoder(*nodes: NodeProto, weights: dict[str, Any] | None = None, **more: Any) -> ModelProto:
    """A graph from z (N, 2) to x (N, 3): z W, or `nodes`, which find W among the weights."""
    steps = list(nodes) or [node("MatMul", "z W", "x")]
    return graph_of(steps, [value("z", "N", LATENT)], [value("x", "N", ROW)], {"W": WEIGHT, **(weights or {})}, **more)


def encoder() -> ModelProto:
    """x (N, 3) -> mean, scale (N, 2)."""
    steps = [node("MatMul", "x V", "mean"), node("Neg", "mean", "scale")]
    outputs = [value("mean", "N", LATENT), value("scale", "N", LATENT)]
    return graph_of(steps, [value("x", "N", ROW)], outputs, {"V": WEIGHT.T.copy()})


def convolutional(latent_size: int) -> ModelProto:
    """z (N, D) -> x (N, 1, 16, 16), by ways that have many kernels."""
    generator = np.random.default_rng(0)
    weights = {
        "W": generator.normal(size=(latent_size, 256)).astype(np.float32),
        "K": generator.normal(size=(16, 8, 4, 4)).astype(np.float32),
        "L": generator.normal(size=(1, 8, 3, 3)).astype(np.float32),
        "s": np.array([-1, 16, 4, 4]),
        "scale": np.ones(8, np.float32),
        "bias": np.zeros(8, np.float32),
        "double": np.array([1, 1, 2, 2], np.float32),
    }
    nodes = [
        node("MatMul", "z W", "a"),
        node("Reshape", "a s", "b"),
        node("ConvTranspose", "b K", "c", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("InstanceNormalization", "c scale bias", "d"),
        node("Relu", "d", "e"),
        node("Resize", "e _ double", "f", mode="nearest"),
        node("Conv", "f L", "g", pads=[1, 1, 1, 1]),
        node("Sigmoid", "g", "x"),
    ]
    return graph_of(nodes, [value("z", "N", latent_size)], [value("x", "N", 1, 16, 16)], weights)


def recurrent(steps: int) -> ModelProto:
    """z (N, 2) -> x (N, steps, 3): an LSTM whose first state has as many rows as the batch."""
    generator = np.random.default_rng(0)
    weights = {
        "V": generator.normal(size=(1, 4 * ROW, LATENT)).astype(np.float32),
        "R": generator.normal(size=(1, 4 * ROW, ROW)).astype(np.float32),
        "zero": np.array([0]), "one": np.array([1]), "last": np.array([1]), "hidden": np.array([ROW]),
        "times": np.array([steps, 1, 1]), "axis": np.array([0]), "directions": np.array([1]),
    }  # fmt: skip
    nodes = [
        node("Shape", "z", "shape"),
        node("Slice", "shape zero one", "rows"),
        node("Concat", "one rows hidden", "states", axis=0),
        node("ConstantOfShape", "states", "h"),
        node("Unsqueeze", "z axis", "z1"),
        node("Tile", "z1 times", "given"),
        node("LSTM", "given V R _ _ h h", "made", hidden_size=ROW),
        node("Squeeze", "made directions", "alone"),
        node("Transpose", "alone", "x", perm=[1, 0, 2]),
    ]
    return graph_of(nodes, [value("z", "N", LATENT)], [value("x", "N", steps, ROW)], weights)


def write(
    path: Path, manifest: dict[str, Any] = MANIFEST, graph: ModelProto | bytes | None = None, **members: Any
) -> Path:
    """A bundle; `members` adds files by name (with __ for a dot)."""
    content: dict[str, Any] = {
        "vae.json": json.dumps(manifest),
        "decoder.onnx": decoder() if graph is None else graph,
        **{name.replace("__", "."): value for name, value in members.items()},
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, held in content.items():
            if held is not None:
                archive.writestr(name, held.SerializeToString() if isinstance(held, onnx.ModelProto) else held)
    return path
