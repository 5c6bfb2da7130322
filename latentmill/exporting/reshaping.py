"""Nodes that cut, join, turn and repeat values, as steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import fx

from latentmill.exporting.arguments import arguments, whole_numbers
from latentmill.exporting.indexing import cuts
from latentmill.exporting.tracing import node_name

if TYPE_CHECKING:
    from latentmill.exporting.translation import Translation

_REPEATS_AT_MOST = 64


def item(work: Translation, node: fx.Node) -> str:
    """One part of a chunk, split or unbind: a range, or an entry, of what was cut."""
    cut, index = node.args
    assert isinstance(cut, fx.Node)
    assert isinstance(index, int)
    source = cut.args[0] if cut.args else cut.kwargs.get("input")
    name = node_name(cut).strip(".")
    if name not in ("chunk", "split", "unbind", "tensor_split", "split_with_sizes") or not isinstance(source, fx.Node):
        raise work.refuse(cut, f"{node_name(cut)} is not something that a bundle can do")
    if name == "unbind":
        dim = arguments(cut, "input dim", dim=0)["dim"]
        axis = work.axis(cut, dim, work.value(source).dim())
        return work.add(node, "Select", [work.id_of(source)], dim=axis, index=index)
    dim = arguments(cut, "input sections dim", dim=0)["dim"]
    axis = work.axis(cut, dim, work.value(source).dim())
    sizes = [part.shape[axis] for part in work.traced.values[cut]]
    start = sum(sizes[:index])
    return work.add(node, "Slice", [work.id_of(source)], dim=axis, start=start, stop=start + sizes[index])


def indexed(work: Translation, node: fx.Node) -> str:
    """value[index]."""
    source, index = node.args
    assert isinstance(source, fx.Node)
    try:
        found, new_axes = cuts(index, work.value(source).dim())
    except ValueError as error:
        raise work.refuse(node, f"an index cannot be exported: {error}") from error
    name = work.id_of(source)
    for layer, numbers in found:
        name = work.add(node, layer, [name], **numbers)
    if new_axes:
        name = work.add(node, "Reshape", [name], shape=list(work.value(node).shape[1:]))
    return name


def selected(work: Translation, node: fx.Node) -> str:
    named = arguments(node, "input dim index")
    axis = work.axis(node, named["dim"], work.value(named["input"]).dim())
    return work.add(node, "Select", [work.id_of(named["input"])], dim=axis, index=named["index"])


def narrowed(work: Translation, node: fx.Node) -> str:
    named = arguments(node, "input dim start length")
    axis = work.axis(node, named["dim"], work.value(named["input"]).dim())
    stop = named["start"] + named["length"]
    return work.add(node, "Slice", [work.id_of(named["input"])], dim=axis, start=named["start"], stop=stop)


def joined(work: Translation, node: fx.Node) -> str:
    """torch.cat."""
    named = arguments(node, "tensors dim", dim=0)
    parts = list(named["tensors"])
    axis = work.axis(node, named["dim"], work.value(node).dim())
    like = next((part for part in parts if part in work.ids), None)
    names = [work.id_of(part, like) for part in parts]
    return names[0] if len(names) == 1 else work.add(node, "Concat", names, dim=axis)


def stacked(work: Translation, node: fx.Node) -> str:
    """torch.stack: each part gets the new axis, then they are joined."""
    named = arguments(node, "tensors dim", dim=0)
    axis = work.axis(node, named["dim"], work.value(node).dim())
    shape = list(work.value(node).shape[1:])
    shape[axis - 1] = 1
    parts = [work.add(node, "Reshape", [work.id_of(part)], shape=shape) for part in named["tensors"]]
    return work.add(node, "Concat", parts, dim=axis)


def permuted(work: Translation, node: fx.Node) -> str:
    source = _source(node)
    dimensions = work.value(source).dim()
    dims = [int(dim) % dimensions for dim in whole_numbers(node, "dims")]
    return _turned(work, node, source, dims)


def transposed(work: Translation, node: fx.Node) -> str:
    source = _source(node)
    dimensions = work.value(source).dim()
    first, second = (int(dim) % dimensions for dim in node.args[1:3])  # type: ignore[arg-type]
    dims = list(range(dimensions))
    dims[first], dims[second] = second, first
    return _turned(work, node, source, dims)


def _turned(work: Translation, node: fx.Node, source: fx.Node, dims: list[int]) -> str:
    if dims[0] != 0:
        raise work.refuse(node, f"{node_name(node)} moves axis 0, which counts the rows of a batch")
    return work.add(node, "Permute", [work.id_of(source)], dims=dims[1:])


def expanded(work: Translation, node: fx.Node) -> str:
    """Axes of size 1 repeated."""
    source = _source(node)
    shape, before = work.value(node).shape, work.value(source).shape
    if shape[0] != work.traced.rows or len(shape) != len(before):
        raise work.refuse(node, f"{node_name(node)} adds axes before the rows; add them with unsqueeze, after axis 0")
    if shape == before:
        return work.id_of(source)
    return work.add(node, "Expand", [work.id_of(source)], shape=list(shape[1:]))


def repeated(work: Translation, node: fx.Node) -> str:
    """value.repeat(1, a, b): each axis joined with itself."""
    source = _source(node)
    counts = whole_numbers(node, "repeats")
    if len(counts) != work.value(source).dim() or counts[0] != 1 or max(counts) > _REPEATS_AT_MOST:
        raise work.refuse(node, f"{node_name(node)}{tuple(counts)} repeats rows, or more than {_REPEATS_AT_MOST} times")
    name = work.id_of(source)
    for axis, count in enumerate(counts):
        if count > 1:
            name = work.add(node, "Concat", [name] * count, dim=axis)
    return name


def averaged(work: Translation, node: fx.Node) -> str:
    """value.mean(dim, keepdim)."""
    named = arguments(node, "input dim keepdim", dim=None, keepdim=False)
    dims = named["dim"]
    if dims is None:
        raise work.refuse(
            node, "mean without dim averages over the rows of a batch", "Name the axes: mean(dim=(1, 2))."
        )
    dimensions = work.value(named["input"]).dim()
    axes = [work.axis(node, dim, dimensions) for dim in (dims if isinstance(dims, tuple | list) else [dims])]
    return work.add(node, "Mean", [work.id_of(named["input"])], dims=axes, keepdim=bool(named["keepdim"]))


def padded(work: Translation, node: fx.Node) -> str:
    """torch.nn.functional.pad over the last one or two axes."""
    named = arguments(node, "input pad mode value", mode="constant", value=None)
    sides = list(named["pad"])
    axes = f"{len(sides) // 2}d"
    layers = {
        "constant": "ConstantPad",
        "reflect": "ReflectionPad",
        "replicate": "ReplicationPad",
        "circular": "CircularPad",
    }
    if axes not in ("1d", "2d") or work.value(named["input"]).dim() <= len(sides) // 2:
        raise work.refuse(node, f"pad with {len(sides)} numbers is not something that a bundle can do")
    numbers: dict[str, Any] = {"padding": sides}
    if named["mode"] == "constant":
        numbers["value"] = float(named["value"] or 0.0)
    return work.add(node, layers[named["mode"]] + axes, [work.id_of(named["input"])], **numbers)


def linear(work: Translation, node: fx.Node) -> str:
    """torch.nn.functional.linear with stored weights."""
    named = arguments(node, "input weight bias", bias=None)
    stored = {key: named[key] for key in ("weight", "bias") if named[key] is not None}
    if not all(isinstance(value, fx.Node) and value.op == "get_attr" for value in stored.values()):
        raise work.refuse(node, "linear is called with weights that are computed", "Use torch.nn.Linear.")
    owner = type("Stored", (), {key: work.value(value) for key, value in stored.items()})
    out_features, in_features = work.value(stored["weight"]).shape
    numbers = {"in_features": in_features, "out_features": out_features, "bias": "bias" in stored}
    return work.steps.add("Linear", [work.id_of(named["input"])], numbers, name="linear", owner=owner)


def _source(node: fx.Node) -> fx.Node:
    source = node.args[0] if node.args else node.kwargs["input"]
    assert isinstance(source, fx.Node)
    return source


RESHAPING: dict[str, Callable[[Translation, fx.Node], str]] = {
    "item": item,
    "getitem": indexed,
    "select": selected,
    "narrow": narrowed,
    "cat": joined,
    "concat": joined,
    "concatenate": joined,
    "stack": stacked,
    "permute": permuted,
    "transpose": transposed,
    "swapaxes": transposed,
    "swapdims": transposed,
    "expand": expanded,
    "expand_as": expanded,
    "repeat": repeated,
    "mean": averaged,
    "pad": padded,
    "linear": linear,
}
