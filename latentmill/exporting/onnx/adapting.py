"""Nodes around a foreign graph, so that it takes and gives what the contract says: types, flat rows, free batches."""

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmill.exporting.onnx.files import shape_of
from latentmill.exporting.onnx.names import free_name
from latentmill.exporting.onnx.roles import Roles
from latentmill.exporting.onnx.tidying import inputs_of
from latentmill.exporting.probabilities import Group
from latentmill.exporting.refusal import refusal
from latentmill.specs import VaeManifest

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, ValueInfoProto


def fixed_batch(model: "ModelProto", roles: Roles) -> int | None:
    """The batch size that the graph's inputs are fixed at; None where it is free."""
    values = {value.name: value for value in inputs_of(model.graph)}
    sizes = {shape[0] for name in roles.inputs.values() if (shape := shape_of(values[name]))}
    return next((size for size in sizes if size is not None), None)


def free_batch_axis(model: "ModelProto", roles: Roles, batch: int) -> int:
    """Name the first axis of inputs and outputs, and let each Reshape to `batch` rows take as many as there are.

    Whether the graph does the same then must be seen by comparing. Returns how many Reshapes were changed.
    """
    graph = model.graph
    for value in [*inputs_of(graph), *graph.output]:
        axes = value.type.tensor_type.shape.dim
        if axes:
            axes[0].dim_param = "batch"
    del graph.value_info[:]
    return sum(_reshape_freely(graph, index, batch) for index in range(len(graph.node)))


def _reshape_freely(graph: "GraphProto", index: int, batch: int) -> bool:
    """A Reshape to a shape that is written down, and begins with the batch, begins with any number instead."""
    from onnx import numpy_helper

    node = graph.node[index]
    if node.op_type != "Reshape" or len(node.input) < 2:
        return False
    shape = constant(graph, node.input[1])
    if shape is None or shape.ndim != 1 or not len(shape) or shape[0] != batch:
        return False
    first = 0 if (shape[1:] == -1).any() else -1  # 0 is what the input has there
    name = free_name(f"{node.input[1]}_free", graph)
    graph.initializer.append(numpy_helper.from_array(np.array([first, *shape[1:]], np.int64), name))
    node.input[1] = name
    return True


def constant(graph: "GraphProto", name: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None":
    """The value of a weight or of a Constant node; None for a value that is computed."""
    from onnx import numpy_helper

    for weight in graph.initializer:
        if weight.name == name:
            return numpy_helper.to_array(weight)
    for node in graph.node:
        if node.op_type == "Constant" and name in node.output and node.attribute[0].name == "value":
            return numpy_helper.to_array(node.attribute[0].t)
    return None


def adapt_inputs(model: "ModelProto", roles: Roles, manifest: VaeManifest, part: str) -> list[str]:
    """Give each input the shape and the type in which the service gives it. Returns what was done, in words."""
    from onnx import TensorProto

    values = {value.name: value for value in inputs_of(model.graph)}
    rows = _row_shapes(manifest)
    notes: list[str] = []
    for role, name in roles.inputs.items():
        wanted = TensorProto.INT64 if role == "y" and not rows["y"] else TensorProto.FLOAT
        notes += _adapt_input(model.graph, values[name], role, rows[role], wanted, part)
    return notes


def check_inputs(model: "ModelProto", roles: Roles, manifest: VaeManifest, part: str) -> None:
    """Raises InvalidBundle for an input that has another shape than what the service gives."""
    values, rows = {value.name: value for value in inputs_of(model.graph)}, _row_shapes(manifest)
    for role, name in roles.inputs.items():
        if (shape := shape_of(values[name])) is not None:
            _nodes_before(shape, role, rows[role], part)


def _row_shapes(manifest: VaeManifest) -> dict[str, tuple[int, ...]]:
    """What the service gives for a row, by role; an index is a single number."""
    shapes = {"x": manifest.rows.shape, "z": manifest.latent.shape}
    if manifest.labels is not None:
        shapes["y"] = () if manifest.labels.encoding == "index" else (len(manifest.labels.classes),)
    return shapes


def _nodes_before(shape: list[int | None], role: str, row: tuple[int, ...], part: str) -> list[str]:
    """Operators that bring rows as they are given into the shape that the graph takes: none, or one."""
    if len(shape) == 2 and len(row) > 1 and shape[1] in (None, prod(row)):
        return ["Flatten"]
    if role == "y" and not row and shape[1:] in ([1], [None]):
        return ["Unsqueeze"]
    if not _fits(shape[1:], row):
        raise _of_another_shape(role, shape, row, part)
    return []


def _adapt_input(
    graph: "GraphProto", value: "ValueInfoProto", role: str, row: tuple[int, ...], wanted: int, part: str
) -> list[str]:
    from onnx import TensorProto, helper

    notes, tensor, shape = [], value.type.tensor_type, shape_of(value)
    operators = [] if shape is None else _nodes_before(shape, role, row, part)
    first: list[tuple[str, dict[str, Any]]] = [(each, {"axis": 1} if each == "Flatten" else {}) for each in operators]
    if "Flatten" in operators:
        notes.append(f"The {part} takes {role} flat; the bundle flattens it first.")
    if tensor.elem_type != wanted:
        first.append(("Cast", {"to": tensor.elem_type}))
        kind = TensorProto.DataType.Name(tensor.elem_type).lower()
        notes.append(f"The {part} takes {role} as {kind}; the bundle casts it.")
    if first:
        inner = free_name(f"{value.name}_given", graph)
        for node in graph.node:
            node.input[:] = [inner if each == value.name else each for each in node.input]
        source = value.name
        for place, (operator, attributes) in enumerate(first):
            target = inner if place == len(first) - 1 else free_name(f"{value.name}_{operator.lower()}", graph)
            given = [source, _weight(graph, f"{value.name}_axis", [1])] if operator == "Unsqueeze" else [source]
            graph.node.insert(place, helper.make_node(operator, given, [target], **attributes))
            source = target
    value.type.CopyFrom(helper.make_tensor_type_proto(wanted, ["batch", *row]))
    return notes


def _fits(said: list[int | None], row: tuple[int, ...]) -> bool:
    return len(said) == len(row) and all(ours in (None, theirs) for ours, theirs in zip(said, row, strict=True))


def _of_another_shape(role: str, shape: list[int | None], row: tuple[int, ...], part: str) -> Exception:
    shown = ", ".join("?" if axis is None else str(axis) for axis in shape[1:])
    way_out = {"x": "Correct rows.", "z": "Correct latent_shape.", "y": "Correct labels: one_hot or index?"}[role]
    if role == "x" and len(row) == 3 and _fits(shape[1:], (row[1], row[2], row[0])):
        height, width, channels = row[1], row[2], row[0]
        way_out = f'Channels come last there: rows={{"shape": [{height}, {width}, {channels}], "layout": "HWC", ...}}.'
    return refusal(part, f"its input {role} has rows of shape [{shown}], but is given {list(row)}", way_out=way_out)


def shape_outputs(model: "ModelProto", outputs: Mapping[str, str], rows: dict[str, tuple[int, ...]]) -> dict[str, str]:
    """Outputs with their types and, where `rows` has one, a shape of their own; their names by role afterwards."""
    from onnx import TensorProto, helper

    graph = model.graph
    values = {value.name: value for value in graph.output}
    names = {}
    del graph.output[:]
    for role, name in outputs.items():
        source, kind = name, values[name].type.tensor_type.elem_type
        if kind != TensorProto.FLOAT:
            source = _append(graph, "Cast", [source], to=TensorProto.FLOAT)
        if role in rows:
            source = _append(graph, "Reshape", [source, _weight(graph, f"{role}_shape", [-1, *rows[role]])])
        names[role] = source
        graph.output.append(helper.make_empty_tensor_value_info(source))
        graph.output[-1].type.tensor_type.elem_type = TensorProto.FLOAT
    return names


def append_probabilities(model: "ModelProto", name: str, groups: list[Group] | str) -> None:
    """A Sigmoid or a Softmax on the last axis behind the output `name`, or one for each group of a table's row."""
    graph = model.graph
    output = next(value for value in graph.output if value.name == name)
    if isinstance(groups, str):
        output.name = _append(graph, groups, [name], **({"axis": -1} if groups == "Softmax" else {}))
        return
    parts = []
    for start, stop, layer in groups:
        bounds = [_weight(graph, f"{name}_{what}", [at]) for what, at in (("from", start), ("to", stop), ("axis", 1))]
        part = _append(graph, "Slice", [name, *bounds])
        if layer != "Identity":
            part = _append(graph, layer, [part], **({"axis": -1} if layer == "Softmax" else {}))
        parts.append(part)
    output.name = _append(graph, "Concat", parts, axis=1) if len(parts) > 1 else parts[0]


def _append(graph: "GraphProto", operator: str, inputs: list[str], **attributes: Any) -> str:
    from onnx import helper

    name = free_name(f"{inputs[0]}_{operator.lower()}", graph)
    graph.node.append(helper.make_node(operator, inputs, [name], **attributes))
    return name


def _weight(graph: "GraphProto", wanted: str, values: list[int]) -> str:
    from onnx import numpy_helper

    name = free_name(wanted, graph)
    graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
    return name
