"""Tensors that do not depend on the input: parameters, buffers, what is computed of them alone, zeros for a start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, fx

from latentmill.exporting import functions
from latentmill.exporting.tracing import node_name

if TYPE_CHECKING:
    from latentmill.exporting.translation import Translation

_SHAPED_LIKE = {"expand_as", "view_as", "reshape_as", "type_as", "to"}  # the other tensor gives no values
_FILLED = {"zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full"}


class Stored:
    """Which nodes are stored tensors, and the steps that give them to every row."""

    def __init__(self, work: Translation) -> None:
        self._work = work
        self._known: dict[fx.Node, bool] = {}
        self._steps: dict[tuple[Any, ...], str] = {}

    def holds(self, node: fx.Node) -> bool:
        """True where the node's value is the same for every input."""
        if node not in self._known:
            self._known[node] = self._found(node)
        return self._known[node]

    def beside(self, node: fx.Node, like: fx.Node) -> str:
        """The tensor as a step, broadcast like `like`: without an axis of rows, or the same for each of them."""
        axis = self._work.rows_axis[like]
        dimensions = self._work.value(like).dim()
        key = (node.target if node.op == "get_attr" else node, axis, dimensions)
        if key not in self._steps:
            self._steps[key] = self._added(node, self._row(node, like, axis, dimensions), self._work.id_of(like))
        return self._steps[key]

    def for_each_row(self, node: fx.Node) -> str:
        """The tensor as an output: rows in front, all of them the same."""
        value = self._work.value(node)
        if value.shape[:1] != (self._work.traced.rows,) or not _same_along(value, 0):
            raise self._work.refuse(
                node,
                f"{node_name(node)} is returned, but is not made from the input, and has no axis of rows",
                "Expand it to the rows of the input: value.expand(len(x), -1).",
            )
        return self._added(node, value[0], self._work.steps.given)

    def as_rows(self, node: fx.Node, *, axis: int) -> str:
        """The tensor as a step that has rows on `axis` already, one or all of the same."""
        value = self._work.value(node)
        if axis >= value.dim() or value.shape[axis] not in (1, self._work.traced.rows) or not _same_along(value, axis):
            raise self._refused(node, value, f"where axis {axis} counts rows")
        return self._added(node, value.select(axis, 0), self._work.steps.given)

    def _found(self, node: fx.Node) -> bool:
        name = node_name(node).strip(".").rstrip("_")
        if node.op == "get_attr" or name in _FILLED:
            return True
        if node.op not in ("call_function", "call_method", "call_module") or name in functions.RANDOM:
            return False
        sources = node.all_input_nodes[:1] if name in _SHAPED_LIKE else node.all_input_nodes
        return bool(sources) and all(self.holds(item) for item in sources)

    def _row(self, node: fx.Node, like: fx.Node, axis: int, dimensions: int) -> Tensor:
        value = self._work.value(node)
        if value.dim() <= dimensions:
            value = value.reshape((1,) * (dimensions - value.dim()) + tuple(value.shape))
            if value.shape[axis] == 1 or (value.shape[axis] == self._work.traced.rows and _same_along(value, axis)):
                return value.select(axis, 0)
        raise self._refused(node, value, f"beside {list(self._work.value(like).shape)}")

    def _refused(self, node: fx.Node, value: Tensor, where: str) -> Exception:
        return self._work.refuse(
            node,
            f"the stored tensor {self._name(node)!r} of shape {list(value.shape)} has an axis of rows {where}",
            "Keep that axis at 1.",
        )

    def _added(self, node: fx.Node, row: Tensor, before: str) -> str:
        owner = type("Row", (), {"value": row})
        name = self._name(node)
        return self._work.steps.add("Constant", [before], {"shape": list(row.shape)}, name=name, owner=owner)

    def _name(self, node: fx.Node) -> str:
        return node_name(node).removeprefix("module.").strip("._")


def _same_along(value: Tensor, axis: int) -> bool:
    return bool((value == value.narrow(axis, 0, 1)).all())
