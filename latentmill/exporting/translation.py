"""From traced nodes to the steps of a network: each node becomes one step, a few, or none.

Steps have their rows on axis 0. A traced value may have them elsewhere (torch's recurrent layers want them on axis 1):
`rows_axis` says where, and steps work on the value with that axis moved to the front.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from latentmill.errors import InvalidBundle
from latentmill.exporting import functions
from latentmill.exporting.arguments import arguments
from latentmill.exporting.arithmetic import ARITHMETIC
from latentmill.exporting.layers import PASSING, SHAPING, layer_of, takes_any_axis
from latentmill.exporting.recurrent import RECURRENT, recurrent
from latentmill.exporting.refusal import recorded_line, refusal
from latentmill.exporting.reshaping import RESHAPING
from latentmill.exporting.steps import Steps
from latentmill.exporting.stored import Stored
from latentmill.exporting.tracing import ITEM, Trace, node_name, torch_class
from latentmill.exporting.weighted import WEIGHTED

_TORCH = ("torch", "_operator", "latentmill.exporting")
_TRANSLATED: dict[str, Callable[["Translation", fx.Node], str]] = {**RESHAPING, **ARITHMETIC, **WEIGHTED}


class Translation:
    """Goes through the nodes once; `ids` says under which name each node's value is known in the network."""

    def __init__(self, traced: Trace, part: str, given: str) -> None:
        self.traced = traced
        self.part = part
        self.steps = Steps(part, given)
        self.stored = Stored(self)
        self.ids: dict[fx.Node, str] = {}
        self.rows_axis: dict[fx.Node, int] = {}

    def network(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The network and its weights."""
        needed = _needed(self.traced.outputs)
        for node in self.traced.nodes:
            if node not in needed:
                continue  # latents that a forward draws beside mean and scale, the indices of a maximum
            try:
                self._translate(node)
            except InvalidBundle:
                raise
            except Exception as error:  # arguments that no function here has thought of
                what = (
                    f"{node_name(node)} is called in a way that a bundle cannot say ({type(error).__name__}: {error})"
                )
                raise self.refuse(node, what) from error
        return self.steps.network([self._returned(node) for node in self.traced.outputs])

    def _translate(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            self.ids[node] = self.steps.given if node.target == "given" else str(node.target)
            self.rows_axis[node] = 0
        elif self.stored.holds(node):
            return  # the same for whatever input: a step, when something reads it
        elif node.op == "call_module":
            self.ids[node] = self._module(node)
        elif node.op in ("call_function", "call_method"):
            self._call(node)

    def value(self, node: fx.Node) -> Tensor:
        value: Tensor = self.traced.values[node]
        return value

    def id_of(self, node: fx.Node, like: fx.Node | None = None) -> str:
        """The name of a node's value. A stored tensor becomes a step when something reads it beside `like`."""
        if node in self.ids:
            return self.ids[node]
        if like is not None and self.stored.holds(node):
            return self.stored.beside(node, like)
        raise self.refuse(node, f"{node_name(node)} is not made from the input, but is used as if it were")

    def add(self, node: fx.Node, layer: str, inputs: list[str], **numbers: Any) -> str:
        name = node_name(node) if node.target is not ITEM else f"{node.args[0]}_{node.args[1]}"
        return self.steps.add(layer, inputs, numbers, name=name.strip("._"), line=self.line(node))

    def line(self, node: fx.Node) -> str | None:
        return recorded_line(node.stack_trace)

    def refuse(self, node: fx.Node, what: str, way_out: str | None = None) -> Exception:
        options = {} if way_out is None else {"way_out": way_out}
        return refusal(self.part, what, line=self.line(node), **options)

    def axis(self, node: fx.Node, dim: Any, source: fx.Node) -> int:
        """Axis `dim` of `source` as steps count it, rows first. Refused when it is the axis of rows."""
        front, rows = int(dim) % self.value(source).dim(), self.rows_axis[source]
        if front == rows:
            raise self.refuse(node, f"{node_name(node)} works along axis {rows}, which counts the rows of a batch")
        return front + 1 if front < rows else front

    def row_shape(self, node: fx.Node) -> list[int]:
        """The shape of one row of a node's value, as steps have it."""
        shape = list(self.value(node).shape)
        del shape[self.rows_axis[node]]
        return shape

    def reshaped(self, node: fx.Node, source: fx.Node) -> str:
        """The value of `source` in the shape that `node` has, which must keep rows apart.

        The axis of rows is found again by what lies before it: as many values, in whatever shape.
        """
        shape, before = list(self.value(node).shape), list(self.value(source).shape)
        ahead = torch.Size(before[: self.rows_axis[source]]).numel()
        rows = next(
            (
                axis
                for axis, size in enumerate(shape)
                if size == self.traced.rows and torch.Size(shape[:axis]).numel() == ahead
            ),
            None,
        )
        if rows is None:
            raise self.refuse(
                node,
                f"{node_name(node)} turns {self.traced.rows} rows within {before} into {shape}: rows and their values "
                "are mixed",
                "Keep an axis for rows, the first one if you can.",
            )
        self.rows_axis[node] = rows
        if self.row_shape(node) == self.row_shape(source):
            return self.id_of(source)
        return self.add(node, "Reshape", [self.id_of(source)], shape=self.row_shape(node))

    def _returned(self, node: fx.Node) -> str:
        """The id of an output, which must have its rows in front."""
        if self.stored.holds(node):
            return self.stored.for_each_row(node)
        if self.rows_axis.get(node) != 0:
            shape = list(self.value(node).shape)
            raise self.refuse(node, f"it returns {shape}, whose first axis does not count the rows of a batch")
        return self.id_of(node)

    def _module(self, node: fx.Node) -> str:
        path = str(node.target)
        module = self.traced.modules[path]
        shown = path.removeprefix("module.")
        if torch_class(module).__name__ in RECURRENT:
            return recurrent(self, node, module, shown)
        layer, numbers = layer_of(module, shown, self.part, self.line(node))
        source = node.args[0] if node.args else next(iter(node.kwargs.values()), None)
        if len(node.args) + len(node.kwargs) != 1 or not isinstance(source, fx.Node):
            raise self.refuse(node, f"{shown!r} is called with other arguments than one tensor")
        if layer in SHAPING:
            return self.reshaped(node, source)
        if layer in PASSING:
            self.rows_axis[node] = self.rows_axis[source]
            return self.id_of(source)
        return self.layer(node, layer, numbers, source, name=shown, owner=module)

    def layer(
        self, node: fx.Node, layer: str, numbers: dict[str, Any], source: fx.Node, *, name: str, owner: nn.Module | None
    ) -> str:
        """A step of one input that leaves rows where they are."""
        rows = self.rows_axis[source]
        if rows and not takes_any_axis(layer, numbers, self.value(source).dim() - rows):
            raise self.refuse(node, f"{name!r} ({layer}) takes its rows on axis 0, but here they lie on axis {rows}")
        if "dim" in numbers:
            numbers = {**numbers, "dim": self.axis(node, numbers["dim"], source)}
        self.rows_axis[node] = rows
        return self.steps.add(layer, [self.id_of(source)], numbers, name=name, owner=owner, line=self.line(node))

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
        if isinstance(source, fx.Node):
            self.rows_axis[node] = self.rows_axis.get(source, 0)  # unless what follows says another
        if name in functions.PASSING:
            self.ids[node] = self._passed(node, source)
        elif name in functions.SHAPING and isinstance(source, fx.Node):
            self.ids[node] = self.reshaped(node, source)
        elif name in functions.TWINS:
            self.ids[node] = self._twin(node, functions.TWINS[name])
        elif name in _TRANSLATED:
            self.ids[node] = _TRANSLATED[name](self, node)
        else:
            raise self.refuse(node, f"{node_name(node)} is not something that the engine torch has")

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
        wanted = {*twin.numbers, *(key for key in functions.RENAMED if key in named)}
        numbers = {functions.RENAMED.get(key, key): named[key] for key in wanted}
        if "dim" in numbers and numbers["dim"] is None:
            raise self.refuse(node, f"{node_name(node)} is called without dim")
        name = node_name(node).strip("._")
        return self.layer(node, twin.layer, numbers, named["input"], name=name, owner=None)


def _needed(outputs: list[fx.Node]) -> set[fx.Node]:
    """The nodes that the outputs are made of."""
    found: set[fx.Node] = set()
    waiting = list(outputs)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return found
