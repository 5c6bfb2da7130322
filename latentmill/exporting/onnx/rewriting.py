"""Calls of a captured module that torch.onnx cannot convert, or not for every batch: written otherwise."""

from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

_SQUEEZE, _ATTENTION = torch.ops.aten.squeeze.default, torch.ops.aten.scaled_dot_product_attention.default


def convertible(program: ExportedProgram) -> ExportedProgram:
    """The same program, changed in place."""
    for node in list(program.graph.nodes):
        if node.target is _SQUEEZE:
            _name_axes(node)
        elif node.target is _ATTENTION and node.args[0].meta["val"].dim() == 3:
            _give_heads(program.graph, node)
    program.graph_module.recompile()
    return program


def _name_axes(node: fx.Node) -> None:
    """`h.squeeze()` drops the axes that are always 1, and not that of the rows when there is one row."""
    source: Any = node.args[0]
    axes = [axis for axis, size in enumerate(source.meta["val"].shape) if type(size) is int and size == 1]
    node.target = torch.ops.aten.squeeze.dims
    node.args = (source, axes)


def _give_heads(graph: fx.Graph, node: fx.Node) -> None:
    """Attention without an axis of heads is attention with one head; ONNX has it with that axis only."""

    def with_head(value: Any) -> Any:
        if not isinstance(value, fx.Node) or value.meta["val"].dim() != 3:
            return value
        return graph.call_function(torch.ops.aten.unsqueeze.default, (value, 1))

    with graph.inserting_before(node):
        node.args = tuple(with_head(value) for value in node.args)
        node.kwargs = {name: with_head(value) for name, value in node.kwargs.items()}
    with graph.inserting_after(node):
        without = graph.call_function(torch.ops.aten.squeeze.dims, (node, [1]))
    without.meta["val"] = node.meta["val"]
    node.replace_all_uses_with(without, delete_user_cb=lambda user: user is not without)
