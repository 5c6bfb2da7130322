"""Bundles of ONNX graphs, valid ones and ones that lie: in their nodes, attributes, weights, shapes and bytes."""

import io
import json
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.random import Generator
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tests.unit.onnx.made_graphs import (
    LATENT,
    MANIFEST,
    ROW,
    WITH_ENCODER,
    convolutional,
    decoder,
    encoder,
    graph_of,
    node,
    recurrent,
    value,
)
from tests.unit.sandbox.mutations import NUMBERS, mutated, pick, spoilt
from workers.models import load_vae, open_bundle
from workers.models.limits import BundleLimits
from workers.models.rows_alone import check_rows_alone

LIMITS = BundleLimits(
    parameters=10**6, step_values=2**16, program_values=2**18, row_operations=2**24, graph_bytes=2**22,
    graph_fields=20_000, packed_bytes=2**16,
)  # fmt: skip
STEPS = 4
SMALL = (0, 1, 2, 3, 4, 7, 8, 64, -1, -2)
ATTRIBUTES = {schema.name: sorted(schema.attributes) for schema in onnx.defs.get_all_schemas()}
OPERATORS = tuple(sorted(ATTRIBUTES))


def labelled() -> ModelProto:
    """z, y (N,) -> x, with an embedding of three classes."""
    nodes = [node("MatMul", "z W", "h"), node("Gather", "E y", "e"), node("Add", "h e", "s"), node("Sigmoid", "s", "x")]
    inputs = [value("z", "N", LATENT), value("y", "N", kind=TensorProto.INT64)]
    weights = {"W": np.ones((LATENT, ROW), np.float32), "E": np.ones((3, ROW), np.float32)}
    return graph_of(nodes, inputs, [value("x", "N", ROW)], weights)


BUNDLES: tuple[tuple[dict[str, Any], dict[str, ModelProto]], ...] = (
    (WITH_ENCODER, {"decoder": decoder(), "encoder": encoder()}),
    ({**MANIFEST, "rows": {"kind": "image", "shape": [1, 16, 16]}}, {"decoder": convolutional(LATENT)}),
    ({**MANIFEST, "rows": {"kind": "tensor", "shape": [STEPS, ROW]}}, {"decoder": recurrent(STEPS)}),
    ({**MANIFEST, "labels": {"classes": ["a", "b", "c"], "encoding": "index"}}, {"decoder": labelled()}),
)


def hostile_graph_bundle(random: Generator) -> bytes:
    """A bundle of graphs with something wrong somewhere, or with nothing wrong."""
    manifest, graphs = pick(random, BUNDLES)
    members = {}
    for part, graph in graphs.items():
        changed = ModelProto()
        changed.CopyFrom(graph)
        for _ in range(int(random.integers(0, 4))):
            pick(random, MUTATIONS)(random, changed)
        content = changed.SerializeToString()
        members[f"{part}.onnx"] = mutated(random, content, content) if random.random() < 0.2 else content
    if random.random() < 0.1:
        manifest = spoilt(random, manifest)
    members["vae.json"] = json.dumps(manifest, default=str).encode("utf-8", "surrogatepass")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def opened_graphs(path: Path) -> None:
    """All that happens to an uploaded bundle, but for the measuring."""
    check_rows_alone(load_vae(open_bundle(path, limits=LIMITS)))


def _number(random: Generator) -> int:
    return int(pick(random, SMALL)) if random.random() < 0.7 else int(pick(random, NUMBERS)) % 2**63


def _names(model: ModelProto) -> list[str]:
    graph = model.graph
    made = [name for each in graph.node for name in each.output]
    return [*made, *(tensor.name for tensor in graph.initializer), *(given.name for given in graph.input), "", "none"]


def _operator(random: Generator, model: ModelProto) -> None:
    pick(random, model.graph.node).op_type = pick(random, OPERATORS)


def _wiring(random: Generator, model: ModelProto) -> None:
    changed = pick(random, model.graph.node)
    ends = pick(random, (changed.input, changed.input, changed.output))
    if ends and random.random() < 0.8:
        ends[int(random.integers(len(ends)))] = pick(random, _names(model))
    else:
        ends.append(pick(random, _names(model)))


def _attribute(random: Generator, model: ModelProto) -> None:
    changed = pick(random, model.graph.node)
    names = [each.name for each in changed.attribute]
    names += ATTRIBUTES.get(changed.op_type, [])
    if not names:
        return
    name = pick(random, names)
    for place, each in enumerate(changed.attribute):
        if each.name == name:
            del changed.attribute[place]
            break
    length = int(pick(random, (0, 1, 2, 3, 4, 8)))
    makers: tuple[Callable[[], Any], ...] = (
        lambda: _number(random),
        lambda: [_number(random) for _ in range(length)],
        lambda: float(pick(random, (0.0, 1.0, -1.0, 0.5, float("nan"), float("inf"), 1e38))),
        lambda: pick(random, ("", "linear", "SAME_UPPER", "ij,jk->ik", "...,...->...", "a" * 1000, "\0")),
        lambda: numpy_helper.from_array(np.full(length, pick(random, SMALL), pick(random, (np.int64, np.float32)))),
    )
    made = pick(random, makers)()
    if made != []:
        changed.attribute.append(helper.make_attribute(name, made))


def _weight(random: Generator, model: ModelProto) -> None:
    tensor = pick(random, model.graph.initializer)
    if random.random() < 0.5:
        with suppress(ValueError, IndexError, KeyError, TypeError, onnx.checker.ValidationError):  # spoilt already
            array = numpy_helper.to_array(tensor).copy()
            array.reshape(-1)[int(random.integers(max(1, array.size)))] = _number(random) % 2**31
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        return
    what = int(random.integers(4))
    if what == 0:
        tensor.dims.append(_number(random))
    elif what == 1 and tensor.dims:
        tensor.dims[int(random.integers(len(tensor.dims)))] = _number(random)
    elif what == 2:
        tensor.data_type = int(random.integers(-1, 30))
    else:
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="x")


def _shape(random: Generator, model: ModelProto) -> None:
    changed = pick(random, [*model.graph.input, *model.graph.output])
    dimensions = changed.type.tensor_type.shape.dim
    what = int(random.integers(4))
    if what == 0:
        changed.name = pick(random, _names(model))
    elif what == 1:
        changed.type.tensor_type.elem_type = int(random.integers(0, 25))
    elif what == 2 and dimensions:
        del dimensions[int(random.integers(len(dimensions)))]
    elif dimensions:
        dimensions[int(random.integers(len(dimensions)))].dim_value = _number(random)


def _order(random: Generator, model: ModelProto) -> None:
    nodes = list(model.graph.node)
    what, at = int(random.integers(3)), int(random.integers(len(nodes)))
    if what == 0:
        del nodes[at]
    elif what == 1:
        nodes.insert(at, pick(random, nodes))
    else:
        nodes.reverse()
    del model.graph.node[:]
    model.graph.node.extend(nodes or [node("Identity", "z", "x")])


def _detour(random: Generator, model: ModelProto) -> None:
    """Any operator between two nodes."""
    at = int(random.integers(len(model.graph.node)))
    changed = model.graph.node[at]
    if not changed.input:
        return
    place = int(random.integers(len(changed.input)))
    inputs = [changed.input[place], *(pick(random, _names(model)) for _ in range(int(random.integers(4))))]
    made = helper.make_node(pick(random, OPERATORS), inputs, [f"detour{at}"])
    changed.input[place] = made.output[0]
    nodes = list(model.graph.node)
    nodes.insert(at, made)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _version(random: Generator, model: ModelProto) -> None:
    model.opset_import[0].version = int(pick(random, (1, 6, 7, 9, 11, 13, 17, 21, 23, 25, 28, 29, 2**40)))


MUTATIONS = (
    _operator, _wiring, _wiring, _attribute, _attribute, _attribute, _weight, _weight, _shape, _order, _detour, _detour,
    _version,
)  # fmt: skip
