"""A graph walked on shapes alone: nothing is computed, and yet the size of every value is known.

Node by node, with a batch of so many rows, the shapes of what comes out are inferred from those of what goes in. What
shapes are made of is computed (folding.py). A node whose size cannot be told is refused: it could be any.
"""

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmill.errors import InvalidBundle
from workers.models.limits import BundleLimits
from workers.models.onnx.folding import VALUES_AT_MOST, Array, Unknown, fold
from workers.models.onnx.operations import Shape, operations, set_aside
from workers.models.onnx.parsing import node_words, opset_of
from workers.models.onnx.weights import item_bytes, kind_name

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto, TypeProto


@dataclass
class Walked:
    """Shapes and kinds of all values by name; the most values of a step, and the operations, of a row."""

    shapes: dict[str, Shape] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    known: dict[str, Array] = field(default_factory=dict)
    largest: int = 1


def walk(model: "ModelProto", file: str, given: dict[str, Shape], rows: int, limits: BundleLimits) -> Walked:
    """What the graph makes of inputs of these shapes. Raises InvalidBundle naming the node that does not fit."""
    return _Walk(model, file, given, rows, limits).walked


_CONSTANTS = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}


class _Walk:
    def __init__(
        self, model: "ModelProto", file: str, given: dict[str, Shape], rows: int, limits: BundleLimits
    ) -> None:
        self._file, self._rows, self._limits = file, rows, limits
        self._opset = opset_of(model)
        self._imports = [each for each in model.opset_import if each.domain in ("", "ai.onnx")]
        self._rules = _rules(model, self._opset)
        self._values = self._operations = 0
        self.walked = Walked()
        for value in model.graph.input:
            self.walked.shapes[value.name] = given[value.name]
            self.walked.kinds[value.name] = value.type.tensor_type.elem_type
        for tensor in model.graph.initializer:
            self._hold(tensor.name, tensor)
        for node in model.graph.node:
            self._step(node)

    def _hold(self, name: str, tensor: "TensorProto") -> None:
        """A tensor of the graph's own."""
        self.walked.shapes[name], self.walked.kinds[name] = tuple(tensor.dims), tensor.data_type
        if prod(tensor.dims) <= VALUES_AT_MOST:
            from onnx.numpy_helper import to_array

            self.walked.known[name] = to_array(tensor)

    def _step(self, node: "NodeProto") -> None:
        walked, words = self.walked, node_words(node, self._file)
        for name in node.input:
            if name and name not in walked.shapes:
                raise InvalidBundle(f"{words} reads {name[:100]!r}, which nothing before it makes; export it again.")
        if doubled := [name for name in node.output if name and name in walked.shapes]:
            raise InvalidBundle(f"{words} makes {doubled[0][:100]!r}, which is there already; export it again.")
        self._check_schema(node, words)
        attributes = _attributes(node)
        self._refuse_training(node, words)
        if node.op_type == "Constant":
            self._constant(node, attributes, words)
        else:
            self._infer(node, words)
            self._fold(node, attributes)
        given = [walked.shapes[name] if name else None for name in node.input]
        self._count(node.op_type, attributes, given, [walked.shapes[name] for name in node.output if name], words)

    def _check_schema(self, node: "NodeProto", words: str) -> None:
        """As many inputs and outputs as the operator has, and attributes of its kinds."""
        from onnx.checker import ValidationError, check_node

        try:
            check_node(node, self._rules)
        except (ValidationError, ValueError, RuntimeError) as error:
            raise InvalidBundle(f"{words} is not as opset {self._opset} has it: {_first_line(error)}") from error
        if not any(node.output):
            raise InvalidBundle(f"{words} makes nothing; export it again.")

    def _constant(self, node: "NodeProto", attributes: dict[str, Any], words: str) -> None:
        from onnx.numpy_helper import from_array

        numbers = [
            np.asarray(attributes[name], kind)
            for name, kind in _CONSTANTS.items()
            if name in attributes and not isinstance(attributes[name], str)
        ]
        tensors = [attribute.t for attribute in node.attribute if attribute.name == "value" and attribute.HasField("t")]
        held = [*tensors, *map(from_array, numbers)]
        if len(held) != 1 or len(node.output) != 1:
            raise InvalidBundle(f"{words} must hold one tensor of numbers; export it again.")
        self._hold(node.output[0], held[0])

    def _infer(self, node: "NodeProto", words: str) -> None:
        """Shapes and kinds of the node's outputs."""
        from onnx import defs, helper, numpy_helper
        from onnx.checker import ValidationError
        from onnx.shape_inference import InferenceError, infer_node_outputs

        walked = self.walked
        try:
            schema = defs.get_schema(node.op_type, self._opset, "")
        except defs.SchemaError as error:
            raise InvalidBundle(f"{words} does not exist in opset {self._opset}; export it again.") from error
        names = {name for name in node.input if name}
        types = {name: helper.make_tensor_type_proto(walked.kinds[name], walked.shapes[name]) for name in names}
        data = {name: numpy_helper.from_array(walked.known[name]) for name in names if name in walked.known}
        try:
            found = infer_node_outputs(schema, node, types, data, opset_imports=self._imports)
        except (InferenceError, ValidationError, ValueError, RuntimeError) as error:
            raise InvalidBundle(f"{words} does not fit a batch of {self._rows}: {_first_line(error)}") from error
        for name in node.output:
            if name:
                self._take(name, found.get(name), words)

    def _take(self, name: str, found: "TypeProto | None", words: str) -> None:
        tensor = found.tensor_type if found is not None and found.HasField("tensor_type") else None
        if tensor is None or not tensor.HasField("shape") or not all(d.HasField("dim_value") for d in tensor.shape.dim):
            raise InvalidBundle(
                f"{words} makes {name[:100]!r}, whose size depends on values or cannot be told from the shapes that go "
                "in: write its shape as a constant, or with the batch axis alone free."
            )
        shape = tuple(each.dim_value for each in tensor.shape.dim)
        if any(length < 0 for length in shape):
            raise InvalidBundle(f"{words} makes {name[:100]!r} of the shape {list(shape)} for {self._rows} rows.")
        if tensor.elem_type not in item_bytes():
            raise InvalidBundle(f"{words} makes values of {kind_name(tensor.elem_type)}, which are not run here.")
        self.walked.shapes[name], self.walked.kinds[name] = shape, tensor.elem_type

    def _fold(self, node: "NodeProto", attributes: dict[str, Any]) -> None:
        """What is known of the values that come out, beside their shapes."""
        walked = self.walked
        if len(node.output) != 1 or prod(walked.shapes[node.output[0]]) > VALUES_AT_MOST:
            return
        if node.op_type in ("Shape", "Size"):
            shape = walked.shapes[node.input[0]]
            cut = shape[attributes.get("start", 0) : attributes.get("end")]
            walked.known[node.output[0]] = np.array(cut if node.op_type == "Shape" else prod(shape), np.int64)
            return
        if not all(name in walked.known for name in node.input if name):
            return
        inputs = [walked.known[name] if name else None for name in node.input]
        try:
            value = fold(node.op_type, attributes, inputs, self._opset)
        except Unknown:
            return
        if value.shape == walked.shapes[node.output[0]]:
            walked.known[node.output[0]] = value

    def _refuse_training(self, node: "NodeProto", words: str) -> None:
        """Dropout that drops, and a BatchNormalization that takes its moments from the batch."""
        dropping = False
        if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
            mode = self.walked.known.get(node.input[2])
            dropping = mode is None or bool(mode.any())
        moments = node.op_type == "BatchNormalization" and sum(map(bool, node.output)) > 1
        if dropping or moments:
            raise InvalidBundle(
                f"{words} is in training mode, in which a row depends on chance or on the others of its batch: call "
                "module.eval() before the export."
            )

    def _count(
        self, operator: str, attributes: dict[str, Any], given: list[Shape | None], made: list[Shape], words: str
    ) -> None:
        limits, rows = self._limits, self._rows
        aside = set_aside(operator, attributes, given) // rows
        values = max(aside, *(prod(shape) // rows for shape in made))
        self.walked.largest = max(self.walked.largest, values)
        self._values += aside + sum(prod(shape) // rows for shape in made)
        self._operations += operations(operator, attributes, given, made) // rows
        for count, most, what in (
            (values, limits.step_values, "makes more values for a row than one step may"),
            (self._values, limits.program_values, "brings the values made for a row beyond their bound"),
            (self._operations, limits.row_operations, "brings the operations for a row beyond their bound"),
        ):
            if count > most:
                raise InvalidBundle(f"{words} {what} ({count:,}, at most {most:,}): make the graph's layers narrower.")


def _rules(model: "ModelProto", opset: int) -> Any:
    """What onnx checks a node against."""
    from onnx.checker import DEFAULT_CONTEXT

    rules = type(DEFAULT_CONTEXT)()
    rules.ir_version = model.ir_version
    rules.opset_imports = {"": opset, "ai.onnx": opset}
    return rules


def _attributes(node: "NodeProto") -> dict[str, Any]:
    """Numbers, texts and lists of them by name, and tensors as arrays where they are small."""
    from onnx.helper import get_attribute_value
    from onnx.numpy_helper import to_array

    found: dict[str, Any] = {}
    for attribute in node.attribute:
        if not attribute.HasField("t"):
            value = get_attribute_value(attribute)
            found[attribute.name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        elif prod(attribute.t.dims) <= VALUES_AT_MOST:
            found[attribute.name] = to_array(attribute.t)
    return found


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
