"""Nodes that join and repeat values, as steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import fx

from latentmill.exporting.arguments import arguments, whole_numbers
from latentmill.exporting.tracing import node_name

if TYPE_CHECKING:
    from latentmill.exporting.translation import Translation

_AT_ONCE = 64  # inputs that one step has at most


def joined(work: Translation, node: fx.Node) -> str:
    """torch.cat."""
    named = arguments(node, "tensors dim", dim=0)
    parts = list(named["tensors"])
    like = _made(work, node, parts)
    work.rows_axis[node] = work.rows_axis[like]
    axis = work.axis(node, named["dim"], like)
    _check_together(work, node, parts)
    return _concatenated(work, node, [work.id_of(part, like) for part in parts], axis)


def stacked(work: Translation, node: fx.Node) -> str:
    """torch.stack: each part gets the new axis, then they are joined."""
    named = arguments(node, "tensors dim", dim=0)
    parts = list(named["tensors"])
    like = _made(work, node, parts)
    _check_together(work, node, parts)
    dimensions = work.value(node).dim()
    new, rows = int(named["dim"]) % dimensions, work.rows_axis[like]
    work.rows_axis[node] = rows + 1 if new <= rows else rows
    axis = work.axis(node, new, node)
    shape = work.row_shape(node)
    shape[axis - 1] = 1
    found = [work.add(node, "Reshape", [work.id_of(part, like)], shape=shape) for part in parts]
    return _concatenated(work, node, found, axis)


def expanded(work: Translation, node: fx.Node) -> str:
    """Axes of size 1 repeated; new ones may appear in front."""
    source = _source(node)
    more = work.value(node).dim() - work.value(source).dim()
    work.rows_axis[node] = rows = work.rows_axis[source] + more
    if work.value(node).shape[rows] != work.traced.rows:
        raise work.refuse(node, f"{node_name(node)} changes how many rows there are")
    return _repeated_ones(work, node, source, more)


def repeated(work: Translation, node: fx.Node) -> str:
    """value.repeat(1, a, b): each axis as often as that; new ones may appear in front."""
    source, counts = _source(node), whole_numbers(node, "repeats")
    more = len(counts) - work.value(source).dim()
    work.rows_axis[node] = rows = work.rows_axis[source] + more
    if counts[rows] != 1:
        raise work.refuse(node, f"{node_name(node)}{tuple(counts)} repeats rows", "Repeat 1 along the axis of rows.")
    before = [1] * more + work.row_shape(source)
    del counts[rows]
    if all(size == 1 or count == 1 for size, count in zip(before, counts, strict=True)):
        return _repeated_ones(work, node, source, more)
    # (a, b) -> (1, a, 1, b) -> (times, a, times, b) -> (times * a, times * b)
    apart = [number for size in before for number in (1, size)]
    wide = [number for pair in zip(counts, before, strict=True) for number in pair]
    name = work.add(node, "Reshape", [work.id_of(source)], shape=apart)
    name = work.add(node, "Expand", [name], shape=wide)
    return work.add(node, "Reshape", [name], shape=work.row_shape(node))


def interleaved(work: Translation, node: fx.Node) -> str:
    """torch.repeat_interleave(value, times, dim): each entry of an axis, that many times."""
    named = arguments(node, "input repeats dim", dim=None)
    source, times = named["input"], named["repeats"]
    if not isinstance(times, int) or named["dim"] is None:
        raise work.refuse(node, "repeat_interleave is called with other counts than one number, or without dim")
    axis = work.axis(node, named["dim"], source)
    shape = work.row_shape(source)
    name = work.add(node, "Reshape", [work.id_of(source)], shape=[*shape[:axis], 1, *shape[axis:]])
    name = work.add(node, "Expand", [name], shape=[*shape[:axis], times, *shape[axis:]])
    return work.add(node, "Reshape", [name], shape=work.row_shape(node))


def _repeated_ones(work: Translation, node: fx.Node, source: fx.Node, more: int) -> str:
    name, shape = work.id_of(source), work.row_shape(node)
    before = [1] * more + work.row_shape(source)
    if more:
        name = work.add(node, "Reshape", [name], shape=before)
    return name if shape == before else work.add(node, "Expand", [name], shape=shape)


def _concatenated(work: Translation, node: fx.Node, names: list[str], axis: int) -> str:
    while len(names) > 1:
        groups = [names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE)]
        names = [group[0] if len(group) == 1 else work.add(node, "Concat", group, dim=axis) for group in groups]
    return names[0]


def _made(work: Translation, node: fx.Node, parts: list[fx.Node]) -> fx.Node:
    """The first part that is made from the input."""
    found = next((part for part in parts if part in work.ids), None)
    if found is None:
        raise work.refuse(node, f"{node_name(node)} joins nothing that is made from the input")
    return found


def _check_together(work: Translation, node: fx.Node, parts: list[fx.Node]) -> None:
    if len({work.rows_axis[part] for part in parts if part in work.ids}) > 1:
        shapes = [list(work.value(part).shape) for part in parts]
        raise work.refuse(node, f"{node_name(node)} joins values of shapes {shapes}: their rows lie on different axes")


def _source(node: fx.Node) -> fx.Node:
    source = node.args[0] if node.args else node.kwargs["input"]
    assert isinstance(source, fx.Node)
    return source


JOINING: dict[str, Callable[[Translation, fx.Node], str]] = {
    "cat": joined,
    "concat": joined,
    "concatenate": joined,
    "stack": stacked,
    "expand": expanded,
    "expand_as": expanded,
    "broadcast_to": expanded,
    "repeat": repeated,
    "tile": repeated,
    "repeat_interleave": interleaved,
}
