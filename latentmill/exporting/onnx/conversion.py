"""A module as an ONNX graph: captured by torch.export with a free batch axis, converted by torch.onnx."""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import torch
from torch import fx
from torch.export import Dim, ExportedProgram

from latentmill.errors import InvalidBundle
from latentmill.exporting.onnx.quiet import noting_fixed_axes, quiet
from latentmill.exporting.onnx.rewriting import convertible
from latentmill.exporting.onnx.tidying import tidied
from latentmill.exporting.parts import Part
from latentmill.exporting.refusal import recorded_line, refusal, user_line
from workers.models.limits import DEFAULT_LIMITS, MEBIBYTE
from workers.models.onnx.operators import check_operator

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_BATCH = "Take the batch size from the input, x.view(x.shape[0], -1), and work on the whole batch, not row by row."
_VALUES = "Use torch.where or arithmetic in place of if, assert, .item() and float(); decide the rest in __init__."
_ELSE = "Write that part with other operations, or bring it into the form of torch.nn layers."
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def graph_of(part: Part) -> bytes:
    """The graph that does what the part does, serialised; the same module gives the same bytes.

    Inputs x or z, and y; outputs by the names of the contract; the batch axis is free. Raises InvalidBundle, naming the
    line and the way out, for what cannot be captured or has no ONNX operator.
    """
    _check_size(part)
    with quiet():
        program = _captured(part)
        model = _converted(program, part)
    names = ("x" if part.name == "encoder" else "z", "y")[: len(part.inputs)]
    return tidied(model, names, part.outputs, part.name)


def _check_size(part: Part) -> None:
    size = sum(weight.nbytes for weight in part.module.state_dict().values())
    if size > DEFAULT_LIMITS.graph_bytes:
        raise InvalidBundle(
            f"The {part.name} has {size / MEBIBYTE:,.0f} MiB of weights, but an ONNX graph of a bundle may have "
            f"{DEFAULT_LIMITS.graph_bytes / MEBIBYTE:,.0f} MiB (2 GiB is the most that its format holds): make it of "
            "layers that the engine torch has, or make it smaller."
        )


def _captured(part: Part) -> ExportedProgram:
    try:
        return convertible(_followed(part, strict=False))
    except Exception as error:  # a stranger's forward method may raise anything, and torch.export has many kinds
        refused = _not_captured(part, error)
        # By the bytecode it also gets past `len(x)` and numpy. What it says is for torch's developers.
        with suppress(Exception):
            return convertible(_followed(part, strict=True))
        raise refused from error


def _followed(part: Part, *, strict: bool) -> ExportedProgram:
    inputs = tuple(part.inputs.values())
    shapes = tuple({0: Dim.DYNAMIC} for _ in inputs)
    with torch.no_grad():
        return torch.export.export(part.module, inputs, dynamic_shapes=shapes, strict=strict)


def _not_captured(part: Part, error: Exception) -> InvalidBundle:
    text = _COLOURS.sub("", str(error))
    line = user_line(error.__traceback__)
    if "data-dependent" in text or "data dependent" in text.lower():
        return refusal(
            part.name, "what it does depends on a value that is only known when it runs", line=line, way_out=_VALUES
        )
    if "specialized it to be a constant" in text or "Constraints violated" in text:
        what = "it only works for batches of one size, or goes through the rows one by one"
        return refusal(part.name, what, line=_line_of_fixed_axis(part), way_out=_BATCH)
    first = text.strip().splitlines()[0][:300] if text.strip() else type(error).__name__
    return refusal(part.name, f"torch.export cannot follow it: {first.rstrip('.')}", line=line, way_out=_ELSE)


def _line_of_fixed_axis(part: Part) -> str | None:
    """Where the batch axis becomes a number: follow it once more, and listen."""
    with noting_fixed_axes(__file__) as fixing, suppress(Exception):  # the one that is being explained
        _followed(part, strict=False)
    return fixing.line


def _converted(program: ExportedProgram, part: Part) -> "ModelProto":
    try:
        converted = torch.onnx.export(program, dynamo=True, verbose=False, optimize=True)
    except Exception as error:  # its errors are those of a private module
        raise _not_converted(program, part, error) from error
    assert converted is not None
    model = converted.model_proto
    for node in model.graph.node:
        _check_operator(node, part)
    return model


def _check_operator(node: "NodeProto", part: Part) -> None:
    """What the service would refuse is refused with the line that torch notes at the node."""
    try:
        check_operator(node.op_type, node.domain, f"{node.op_type}, which a bundle cannot have")
    except InvalidBundle as error:
        notes = {entry.key: entry.value for entry in node.metadata_props}
        line = recorded_line(notes.get("pkg.torch.onnx.stack_trace"))
        what = f"it needs the ONNX operator {node.op_type}, which the service does not run"
        raise refusal(part.name, what, line=line, way_out=_ELSE) from error


def _not_converted(program: ExportedProgram, part: Part, error: Exception) -> InvalidBundle:
    text = _COLOURS.sub("", str(error))
    unknown = re.search(r"OpOverload\(op='(?:aten\.)?_*([\w.]+?)'", text)
    if unknown is not None:
        operator = unknown.group(1)
        # torch.onnx takes a program apart first: what the user wrote is called by the same name, or nearly so.
        line = _line_of(program, lambda node: operator in str(node.target))
        return refusal(part.name, f"{operator} has no ONNX operator", line=line, way_out=_ELSE)
    found = re.search(r"translating node %(\w+)", text)
    line = _line_of(program, lambda node: found is not None and node.name == found.group(1))
    reason: BaseException = error
    while reason.__cause__ is not None:
        reason = reason.__cause__
    said = (_COLOURS.sub("", str(reason)).strip() or type(reason).__name__).splitlines()[0][:300].rstrip(".")
    which = f" {found.group(1)}" if found else ""
    return refusal(part.name, f"torch.onnx cannot convert{which or ' it'}: {said}", line=line, way_out=_ELSE)


def _line_of(program: ExportedProgram, wanted: Callable[[fx.Node], bool]) -> str | None:
    """The user's line that made the first of the nodes which are `wanted`."""
    nodes = (node for node in program.graph.nodes if node.op == "call_function" and wanted(node))
    return next((recorded_line(node.meta.get("stack_trace")) for node in nodes), None)
