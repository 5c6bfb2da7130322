"""From traced nodes to the steps of a network: each node becomes one step, a few, or none."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from latentmill.exporting import functions
from latentmill.exporting.arguments import arguments
from latentmill.exporting.layers import PASSING, SHAPING, layer_of
from latentmill.exporting.refusal import recorded_line, refusal
from latentmill.exporting.reshaping import RESHAPING
from latentmill.exporting.steps import Steps
from latentmill.exporting.tracing import ITEM, Trace, node_name

_TORCH = ("torch", "_operator", "latentmill.exporting")


class Translation:
    """Goes through the nodes once; `ids` says under which name each node's value is known in the network."""

    def __init__(self, traced: Trace, part: str, given: str) -> None:
        self.traced = traced
        self.part = part
        self.steps = Steps(part, given)
        self.ids: dict[fx.Node, str] = {}

    def network(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The network and its weights."""
        for node in self.traced.nodes:
            if node.op == "placeholder":
                self.ids[node] = self.steps.given if node.target == "given" else str(node.target)
            elif node.op == "call_module":
                self.ids[node] = self._module(node)
            elif node.op in ("call_function", "call_method"):
                self._call(node)
        return self.steps.network([self.id_of(node) for node in self.traced.outputs])

    def value(self, node: fx.Node) -> Tensor:
        value: Tensor = self.traced.values[node]
        return value

    def id_of(self, node: fx.Node, like: fx.Node | None = None) -> str:
        """The name of a node's value. A stored tensor becomes a step when something reads it beside `like`."""
        if node in self.ids:
            return self.ids[node]
        if node.op == "get_attr" and like is not None:
            return self._constant(node, like)
        raise self.refuse(node, f"{node_name(node)} is not made from the input, but is returned or joined as it is")

    def add(self, node: fx.Node, layer: str, inputs: list[str], **numbers: Any) -> str:
        name = node_name(node) if node.target is not ITEM else f"{node.args[0]}_{node.args[1]}"
        return self.steps.add(layer, inputs, numbers, name=name.strip("._"), line=self.line(node))

    def line(self, node: fx.Node) -> str | None:
        return recorded_line(node.stack_trace)

    def refuse(self, node: fx.Node, what: str, way_out: str | None = None) -> Exception:
        options = {} if way_out is None else {"way_out": way_out}
        return refusal(self.part, what, line=self.line(node), **options)

    def axis(self, node: fx.Node, dim: Any, dimensions: int) -> int:
        """`dim` counted from the front. Refused when it is the axis of rows."""
        front = int(dim) % dimensions
        if front == 0:
            raise self.refuse(node, f"{node_name(node)} works along axis 0, which counts the rows of a batch")
        return front

    def _module(self, node: fx.Node) -> str:
        path = str(node.target)
        module = self.traced.modules[path]
        shown = path.removeprefix("module.")
        layer, numbers = layer_of(module, shown, self.part, self.line(node))
        source = node.args[0] if node.args else next(iter(node.kwargs.values()), None)
        if len(node.args) + len(node.kwargs) != 1 or not isinstance(source, fx.Node):
            raise self.refuse(node, f"{shown!r} is called with other arguments than one tensor")
        if layer in SHAPING:
            return self.reshaped(node, source)
        if layer in PASSING:
            return self.id_of(source)
        return self.steps.add(layer, [self.id_of(source)], numbers, name=shown, owner=module, line=self.line(node))

    def reshaped(self, node: fx.Node, source: fx.Node) -> str:
        """The value of `source` in the shape that `node` has, which must keep rows apart."""
        shape = tuple(self.value(node).shape)
        if shape[:1] != (self.traced.rows,):
            raise self.refuse(
                node,
                f"{node_name(node)} turns {self.traced.rows} rows of shape {list(self.value(source).shape[1:])} into "
                f"{list(shape)}: rows and their values are mixed",
                "Keep the first axis for rows.",
            )
        if shape == tuple(self.value(source).shape):
            return self.id_of(source)
        return self.add(node, "Reshape", [self.id_of(source)], shape=list(shape[1:]))

    def _call(self, node: fx.Node) -> None:
        name = node_name(node).strip(".").rstrip("_") if node.target is not ITEM else "item"
        module = getattr(node.target, "__module__", None) or "torch"
        if node.op == "call_function" and not module.startswith(_TORCH):
            raise self.refuse(node, f"{module}.{name} is a function that torch.fx does not look into")
        if name in functions.RANDOM:
            raise self.refuse(
                node,
                f"{name} draws random numbers",
                "Give the exporter modules that return mean and scale; Latentmill draws the latents itself.",
            )
        source: Any = node.args[0] if node.args else node.kwargs.get("input")
        if isinstance(self.traced.values[node], tuple | list):
            return  # its parts are cut out of what it was made from when they are read
        if name in functions.PASSING:
            self.ids[node] = self._passed(node, source)
        elif name in functions.SHAPING and isinstance(source, fx.Node):
            self.ids[node] = self.reshaped(node, source)
        elif name in functions.TWINS:
            self.ids[node] = self._twin(node, functions.TWINS[name])
        elif name in functions.ARITHMETIC or name in ("neg", "negative", "rsub", "square", "pow"):
            self.ids[node] = self._arithmetic(node, name)
        elif name in RESHAPING:
            self.ids[node] = RESHAPING[name](self, node)
        else:
            raise self.refuse(node, f"{node_name(node)} is not something that a bundle can do")

    def _passed(self, node: fx.Node, source: Any) -> str:
        named = arguments(node, "input p training inplace", training=False)
        if "dropout" in node_name(node) and named["training"] is True:
            raise self.refuse(node, "dropout is called with training=True", "Pass training=self.training.")
        before, after = self.value(source), self.value(node)
        if before.is_floating_point() != after.is_floating_point() and self.ids.get(source) == "y":
            raise self.refuse(node, "class indices are used as numbers", "Use an Embedding or one_hot.")
        if after.is_floating_point() and after.dtype != torch.float32:
            raise self.refuse(node, f"it computes in {after.dtype}", "Bundles compute in float32.")
        return self.id_of(source)

    def _twin(self, node: fx.Node, twin: functions.Twin) -> str:
        named = arguments(node, twin.parameters, **twin.numbers)
        source = named["input"]
        wanted = {*twin.numbers, *(key for key in functions.RENAMED if key in named)}
        numbers = {functions.RENAMED.get(key, key): named[key] for key in wanted}
        if "dim" in numbers:
            if numbers["dim"] is None:
                raise self.refuse(node, f"{node_name(node)} is called without dim")
            numbers["dim"] = self.axis(node, numbers["dim"], self.value(source).dim())
        return self.add(node, twin.layer, [self.id_of(source)], **numbers)

    def _arithmetic(self, node: fx.Node, name: str) -> str:
        first: Any = node.args[0]
        second: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("other")
        if node.kwargs.get("alpha", 1) != 1 or node.kwargs.get("rounding_mode"):
            raise self.refuse(node, f"{name} is called with options")
        if name in ("neg", "negative"):
            return self.add(node, "Affine", [self.id_of(_node(first))], scale=-1.0)
        if name in ("square", "pow"):
            if name == "pow" and second != 2:
                raise self.refuse(node, f"a power of {second} is not something that a bundle can do")
            return self.add(node, "Multiply", [self.id_of(_node(first))] * 2)
        if name == "rsub":
            first, second, name = second, first, "sub"
        if isinstance(first, fx.Node) and isinstance(second, fx.Node):
            return self._two_values(node, functions.ARITHMETIC[name], first, second)
        return self._with_number(node, functions.ARITHMETIC[name], first, second)

    def _two_values(self, node: fx.Node, layer: str, first: fx.Node, second: fx.Node) -> str:
        made = [item for item in (first, second) if item in self.ids]
        shapes = [tuple(self.value(item).shape) for item in made]
        if len({len(shape) for shape in shapes}) > 1 or self.value(node).shape[:1] != (self.traced.rows,):
            raise self.refuse(
                node, f"{node_name(node)} joins values of shapes {[list(shape) for shape in shapes]}: rows may mix"
            )
        like = made[0] if made else None
        return self.add(node, layer, [self.id_of(first, like), self.id_of(second, like)])

    def _with_number(self, node: fx.Node, layer: str, first: Any, second: Any) -> str:
        source, number = (first, second) if isinstance(first, fx.Node) else (second, first)
        reversed_order = source is second
        if not isinstance(number, int | float) or (layer == "Divide" and reversed_order):
            raise self.refuse(node, f"{node_name(node)} of {number!r} is not something that a bundle can do")
        numbers: dict[str, Callable[[], dict[str, float]]] = {
            "Add": lambda: {"offset": float(number)},
            "Subtract": lambda: {"scale": -1.0, "offset": number} if reversed_order else {"offset": -number},
            "Multiply": lambda: {"scale": float(number)},
            "Divide": lambda: {"scale": 1.0 / number},
        }
        return self.add(node, "Affine", [self.id_of(_node(source))], **numbers[layer]())

    def _constant(self, node: fx.Node, like: fx.Node) -> str:
        """A stored tensor as a step: the same for every row, broadcast like `like`."""
        value, dimensions = self.value(node), self.value(like).dim()
        if value.dim() > dimensions or (value.dim() == dimensions and value.shape[0] != 1):
            raise self.refuse(
                node,
                f"the stored tensor {str(node.target).removeprefix('module.')!r} of shape {list(value.shape)} has an "
                f"axis of rows beside {list(self.value(like).shape)}",
                "Keep its first axis at 1.",
            )
        row = value.reshape((1,) * (dimensions - value.dim()) + tuple(value.shape))[0]
        owner = type("Stored", (), {"value": row})
        return self.steps.add(
            "Constant",
            [self.ids[like]],
            {"shape": list(row.shape)},
            name=str(node.target).removeprefix("module."),
            owner=owner,
        )


def _node(item: Any) -> fx.Node:
    assert isinstance(item, fx.Node)
    return item
