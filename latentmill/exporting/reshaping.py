"""Nodes that cut, turn and reduce values, as steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import fx

from latentmill.exporting.arguments import arguments, whole_numbers
from latentmill.exporting.indexing import indexed
from latentmill.exporting.joining import JOINING
from latentmill.exporting.recurrent import part_of
from latentmill.exporting.tracing import node_name

if TYPE_CHECKING:
    from latentmill.exporting.translation import Translation


def item(work: Translation, node: fx.Node) -> str:
    """One part of what gives several: of a recurrent layer, of a chunk, split or unbind, of a maximum along an axis."""
    found = part_of(work, node)
    if found is not None:
        return found
    cut, index = node.args
    assert isinstance(cut, fx.Node)
    assert isinstance(index, int)
    source = cut.args[0] if cut.args else cut.kwargs.get("input")
    name = node_name(cut).strip(".")
    if name in ("max", "min") and isinstance(source, fx.Node) and index == 0:
        return reduced({"max": "Max", "min": "Min"}[name], work, cut, made=node)
    if name not in ("chunk", "split", "unbind", "tensor_split", "split_with_sizes") or not isinstance(source, fx.Node):
        raise work.refuse(cut, f"{node_name(cut)} is not something that the engine torch has")
    if name == "unbind":
        dim = arguments(cut, "input dim", dim=0)["dim"]
        return _entry(work, node, source, dim, index)
    dim = int(arguments(cut, "input sections dim", dim=0)["dim"])
    axis = work.axis(cut, dim, source)
    sizes = [part.shape[dim] for part in work.traced.values[cut]]
    start = sum(sizes[:index])
    work.rows_axis[node] = work.rows_axis[source]
    return work.add(node, "Slice", [work.id_of(source)], dim=axis, start=start, stop=start + sizes[index])


def cut(work: Translation, node: fx.Node) -> str:
    """value[index]."""
    source, index = node.args
    assert isinstance(source, fx.Node)
    try:
        found = indexed(index, work.value(source).dim(), work.rows_axis[source])
    except ValueError as error:
        raise work.refuse(node, f"an index cannot be exported: {error}") from error
    name = work.id_of(source)
    for layer, numbers in found.cuts:
        name = work.add(node, layer, [name], **numbers)
    work.rows_axis[node] = found.rows_axis
    if found.has_new_axes:
        name = work.add(node, "Reshape", [name], shape=work.row_shape(node))
    return name


def selected(work: Translation, node: fx.Node) -> str:
    named = arguments(node, "input dim index")
    return _entry(work, node, named["input"], named["dim"], named["index"])


def _entry(work: Translation, node: fx.Node, source: fx.Node, dim: int, index: int) -> str:
    """One entry of one axis, which goes."""
    axis, rows = work.axis(node, dim, source), work.rows_axis[source]
    work.rows_axis[node] = rows - 1 if axis <= rows else rows
    return work.add(node, "Select", [work.id_of(source)], dim=axis, index=index)


def narrowed(work: Translation, node: fx.Node) -> str:
    named = arguments(node, "input dim start length")
    axis = work.axis(node, named["dim"], named["input"])
    stop = named["start"] + named["length"]
    return work.add(node, "Slice", [work.id_of(named["input"])], dim=axis, start=named["start"], stop=stop)


def permuted(work: Translation, node: fx.Node) -> str:
    source = _source(node)
    dimensions = work.value(source).dim()
    return _turned(work, node, source, [int(dim) % dimensions for dim in whole_numbers(node, "dims")])


def transposed(work: Translation, node: fx.Node) -> str:
    source = _source(node)
    dimensions = work.value(source).dim()
    named = arguments(node, "input dim0 dim1", dim0=0, dim1=1)  # of .t() and .T, which have no arguments
    first, second = (int(named[key]) % dimensions for key in ("dim0", "dim1"))
    dims = list(range(dimensions))
    dims[first], dims[second] = second, first
    return _turned(work, node, source, dims)


def moved(work: Translation, node: fx.Node) -> str:
    """movedim with one source and one destination."""
    named = arguments(node, "input source destination")
    source = named["input"]
    if not isinstance(named["source"], int) or not isinstance(named["destination"], int):
        raise work.refuse(node, f"{node_name(node)} of several axes is not something that the engine torch has")
    dims = list(range(work.value(source).dim()))
    place = named["destination"] % len(dims)
    dims.insert(place, dims.pop(named["source"] % len(dims)))
    return _turned(work, node, source, dims)


def _turned(work: Translation, node: fx.Node, source: fx.Node, dims: list[int]) -> str:
    """Axes in another order. That rows move changes nothing: in steps they are in front."""
    rows = work.rows_axis[source]
    work.rows_axis[node] = dims.index(rows)
    inner = [work.axis(node, dim, source) for dim in dims if dim != rows]
    if inner == sorted(inner):
        return work.id_of(source)
    return work.add(node, "Permute", [work.id_of(source)], dims=inner)


def flipped(work: Translation, node: fx.Node) -> str:
    source = _source(node)
    dims = [work.axis(node, dim, source) for dim in whole_numbers(node, "dims")]
    return work.add(node, "Flip", [work.id_of(source)], dims=dims)


def reduced(layer: str, work: Translation, node: fx.Node, made: fx.Node | None = None) -> str:
    """value.mean(dim, keepdim), and the sum, the largest and the least along axes."""
    named = arguments(node, "input dim keepdim", dim=None, keepdim=False)
    dims, source, name = named["dim"], named["input"], node_name(node).strip(".")
    if dims is None or isinstance(dims, fx.Node):
        raise work.refuse(
            node, f"{name} without dim goes over the rows of a batch, too", f"Name the axes: {name}(dim=(1, 2))."
        )
    axes = [work.axis(node, dim, source) for dim in (dims if isinstance(dims, tuple | list) else [dims])]
    rows, kept = work.rows_axis[source], bool(named["keepdim"])
    work.rows_axis[made or node] = rows if kept else rows - sum(1 for axis in axes if axis <= rows)
    return work.add(made or node, layer, [work.id_of(source)], dims=axes, keepdim=kept)


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
    source = named["input"]
    if axes not in ("1d", "2d") or work.value(source).dim() - work.rows_axis[source] <= len(sides) // 2:
        raise work.refuse(node, f"pad with {len(sides)} numbers is not something that the engine torch has")
    numbers: dict[str, Any] = {"padding": sides}
    if named["mode"] == "constant":
        numbers["value"] = float(named["value"] or 0.0)
    return work.add(node, layers[named["mode"]] + axes, [work.id_of(source)], **numbers)


def _source(node: fx.Node) -> fx.Node:
    source = node.args[0] if node.args else node.kwargs["input"]
    assert isinstance(source, fx.Node)
    return source


RESHAPING: dict[str, Callable[[Translation, fx.Node], str]] = {
    **JOINING,
    "item": item,
    "getitem": cut,
    "select": selected,
    "narrow": narrowed,
    "permute": permuted,
    "transpose": transposed,
    "t": transposed,
    "swapaxes": transposed,
    "swapdims": transposed,
    "movedim": moved,
    "moveaxis": moved,
    "flip": flipped,
    "mean": partial(reduced, "Mean"),
    "sum": partial(reduced, "Sum"),
    "amax": partial(reduced, "Max"),
    "amin": partial(reduced, "Min"),
    "pad": padded,
}
