"""Nodes that compute with two values, or with a value and a number, as steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import fx

from latentmill.exporting.tracing import node_name

if TYPE_CHECKING:
    from latentmill.exporting.translation import Translation

_LAYERS = {
    "add": "Add", "sub": "Subtract", "subtract": "Subtract", "mul": "Multiply", "multiply": "Multiply",
    "truediv": "Divide", "div": "Divide", "divide": "Divide", "true_divide": "Divide",
}  # fmt: skip


def _computed(name: str, work: Translation, node: fx.Node) -> str:
    """first + second, first - second, first * second, first / second."""
    first: Any = node.args[0]
    second: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("other")
    if node.kwargs.get("alpha", 1) != 1 or node.kwargs.get("rounding_mode"):
        raise work.refuse(node, f"{name} is called with options")
    if name == "rsub":
        first, second, name = second, first, "sub"
    if isinstance(first, fx.Node) and isinstance(second, fx.Node):
        return _two_values(work, node, _LAYERS[name], first, second)
    return _with_number(work, node, _LAYERS[name], first, second)


def negated(work: Translation, node: fx.Node) -> str:
    return work.add(node, "Affine", [work.id_of(_made(node))], scale=-1.0)


def power(work: Translation, node: fx.Node) -> str:
    """Whole powers from 2 to 4 as products, and the square root."""
    exponent: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("exponent", 2)
    source = node.args[0]
    if isinstance(source, fx.Node) and exponent in (2, 3, 4):
        return work.add(node, "Multiply", [work.id_of(source)] * int(exponent))
    if isinstance(source, fx.Node) and exponent == 0.5:
        return work.add(node, "Sqrt", [work.id_of(source)])
    raise work.refuse(node, f"a power of {exponent} is not something that the engine torch has")


def _two_values(work: Translation, node: fx.Node, layer: str, first: fx.Node, second: fx.Node) -> str:
    """Both with as many axes as the wider one has: torch aligns them at the end, and so the rows must be."""
    made = [item for item in (first, second) if not work.stored.holds(item)]
    from_the_end = {work.rows_axis[item] - work.value(item).dim() for item in made}
    like = max(made, key=lambda item: work.value(item).dim())
    rows = work.rows_axis[like] + work.value(node).dim() - work.value(like).dim()
    if len(from_the_end) > 1 or work.value(node).shape[rows] != work.traced.rows:
        shapes = [list(work.value(item).shape) for item in (first, second)]
        raise work.refuse(node, f"{node_name(node)} joins values of shapes {shapes}: rows may mix")
    work.rows_axis[node] = rows
    return work.add(node, layer, [_as_wide_as(work, item, like) for item in (first, second)])


def _as_wide_as(work: Translation, item: fx.Node, like: fx.Node) -> str:
    missing = work.value(like).dim() - work.value(item).dim()
    if missing <= 0 or work.stored.holds(item):
        return work.id_of(item, like)
    return work.add(item, "Reshape", [work.id_of(item)], shape=[1] * missing + work.row_shape(item))


def _with_number(work: Translation, node: fx.Node, layer: str, first: Any, second: Any) -> str:
    source, number = (first, second) if isinstance(first, fx.Node) else (second, first)
    reversed_order = source is second
    if not isinstance(number, int | float) or (layer == "Divide" and reversed_order):
        raise work.refuse(node, f"{node_name(node)} of {number!r} is not something that the engine torch has")
    numbers: dict[str, Callable[[], dict[str, float]]] = {
        "Add": lambda: {"offset": float(number)},
        "Subtract": lambda: {"scale": -1.0, "offset": number} if reversed_order else {"offset": -number},
        "Multiply": lambda: {"scale": float(number)},
        "Divide": lambda: {"scale": 1.0 / number},
    }
    work.rows_axis[node] = work.rows_axis[source]
    return work.add(node, "Affine", [work.id_of(source)], **numbers[layer]())


def _made(node: fx.Node) -> fx.Node:
    source = node.args[0] if node.args else node.kwargs["input"]
    assert isinstance(source, fx.Node)
    return source


ARITHMETIC: dict[str, Callable[[Translation, fx.Node], str]] = {
    **{name: partial(_computed, name) for name in (*_LAYERS, "rsub")},
    "neg": negated,
    "negative": negated,
    "square": power,
    "pow": power,
}
