"""ONNX files as tf2onnx and Keras write them: channels last outside, Transpose around each Conv, names of layers."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE, LATENT = 8, 2


class Graph:
    """Nodes, weights and values of a file that is being made; `random` weights are seeded."""

    def __init__(self, opset: int = 15) -> None:
        self.nodes, self.weights, self.opset = [], [], opset
        self._draws = np.random.default_rng(0)

    def weight(self, name: str, *shape: int) -> str:
        values = self._draws.normal(0, 0.3, shape).astype(np.float32)
        return self.stored(name, values)

    def stored(self, name: str, values: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add(self, kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"{kind}__{len(self.nodes)}", **attributes))
        return output

    def dense(self, given: str, name: str, width: int, units: int, output: str | None = None) -> str:
        product = self.add("MatMul", [given, self.weight(f"{name}/kernel", width, units)], f"{name}/MatMul:0")
        return self.add("Add", [product, self.weight(f"{name}/bias", units)], output or f"{name}/BiasAdd:0")

    def save(self, path: Path, inputs: dict[str, list], outputs: dict[str, list], **kinds: int) -> Path:
        def values(said: dict[str, list]) -> list:
            named = said.items()
            return [helper.make_tensor_value_info(n, kinds.get(n, TensorProto.FLOAT), shape) for n, shape in named]

        graph = helper.make_graph(self.nodes, "tf2onnx", values(inputs), values(outputs), self.weights, "converted")
        opset = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=opset, producer_name="tf2onnx", ir_version=8)
        onnx.checker.check_model(model)
        onnx.save_model(model, path)
        return path


def conv_encoder(
    path: Path,
    *,
    batch: object = "unk__6",
    outputs: tuple[str, ...] = ("z_mean", "z_log_var"),
    draws: bool = False,
    fixed_reshape: bool = False,
) -> Path:
    """x (N, 8, 8, 1) -> mean, log variance (N, 2) [, z drawn inside], as the VAE of Keras' own examples."""
    graph = Graph()
    turned = graph.add("Transpose", ["input_1"], "conv2d/Conv2D__5:0", perm=[0, 3, 1, 2])
    kernel = graph.weight("conv2d/kernel", 4, 1, 3, 3)
    conv = graph.add("Conv", [turned, kernel], "conv2d/Conv2D:0", strides=[2, 2], pads=[0, 0, 1, 1])
    back = graph.add("Transpose", [graph.add("Relu", [conv], "relu:0")], "conv2d/Relu:0", perm=[0, 2, 3, 1])
    flat = [1 if fixed_reshape else -1, 64]
    shape = graph.stored("const_fold_opt__12", np.array(flat, np.int64))
    hidden = graph.add("Reshape", [back, shape], "flatten/Reshape:0")
    mean = graph.dense(hidden, "z_mean", 64, LATENT, outputs[0])
    scale = graph.dense(hidden, "z_log_var", 64, LATENT, outputs[1])
    made = {name: [batch, LATENT] for name in outputs[:2]}
    if draws:
        noise = graph.add("RandomNormalLike", [mean], "sampling/random_normal:0")
        graph.add("Add", [mean, graph.add("Mul", [noise, scale], "sampling/mul:0")], outputs[2])
        made[outputs[2]] = [batch, LATENT]
    return graph.save(path, {"input_1": [batch, SIZE, SIZE, 1]}, made)


def conv_decoder(path: Path, *, batch: object = "unk__7", fixed: bool = False) -> Path:
    """z (N, 2) -> x (N, 8, 8, 1)."""
    graph = Graph()
    hidden = graph.add("Relu", [graph.dense("input_2", "dense", LATENT, 64)], "dense/Relu:0")
    shape = graph.stored("const_fold_opt__20", np.array([1 if fixed else -1, 4, 4, 4], np.int64))
    image = graph.add("Reshape", [hidden, shape], "reshape/Reshape:0")
    turned = graph.add("Transpose", [image], "conv2d_transpose__9:0", perm=[0, 3, 1, 2])
    kernel = graph.weight("conv2d_transpose/kernel", 4, 1, 2, 2)
    wide = graph.add("ConvTranspose", [turned, kernel], "conv2d_transpose/out:0", strides=[2, 2])
    name = "StatefulPartitionedCall:0"
    wide = graph.add("Sigmoid", [wide], "conv2d_transpose/Sigmoid:0")
    graph.add("Transpose", [wide], name, perm=[0, 2, 3, 1])
    return graph.save(path, {"input_2": [batch, LATENT]}, {name: [batch, SIZE, SIZE, 1]})


def dense_decoder(path: Path, size: int, *, labels: int = 0, outputs: tuple[str, ...] = ("dense_3",)) -> Path:
    """z (N, 2) [, y (N, labels)] -> outputs (N, size) each."""
    graph = Graph()
    given, inputs = "z_sampling", {"z_sampling": ["unk__1", LATENT]}
    if labels:
        inputs["class_labels"] = ["unk__2", labels]
        given = graph.add("Concat", ["z_sampling", "class_labels"], "concatenate/concat:0", axis=1)
    hidden = graph.add("Tanh", [graph.dense(given, "dense_1", LATENT + labels, 16)], "dense_1/Tanh:0")
    for number, name in enumerate(outputs):
        graph.dense(hidden, f"dense_{2 + number}", 16, size, name)
    return graph.save(path, inputs, {name: ["unk__3", size] for name in outputs})
