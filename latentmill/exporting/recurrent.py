"""torch.nn's recurrent layers as steps, with what they return: `out, (h, c) = self.lstm(x)`, `h = self.cell(x, h)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import fx, nn

from latentmill.exporting.layers import numbers_of
from latentmill.exporting.tracing import ITEM, node_name

if TYPE_CHECKING:
    from latentmill.exporting.translation import Translation

RECURRENT = {"GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"}
# Where in what the layer returns each of the step's values lies.
_MADE: dict[str, dict[tuple[int, ...], str]] = {
    "GRU": {(0,): "", (1,): ".hidden"},
    "RNN": {(0,): "", (1,): ".hidden"},
    "LSTM": {(0,): "", (1, 0): ".hidden", (1, 1): ".cell"},
    "LSTMCell": {(0,): "", (1,): ".cell"},
}


@dataclass(frozen=True)
class _Called:
    """One call of a layer: its input, and its initial states by the way they were given."""

    sequence: fx.Node
    states: tuple[fx.Node, ...]


def recurrent(work: Translation, node: fx.Node, module: nn.Module, path: str) -> str:
    """One step for a call of the layer. Refused where rows would be taken for the steps of a sequence."""
    called = _called(work, node, path)
    kind = type(module).__name__
    if type(module) is not getattr(nn, kind, None):
        raise work.refuse(node, f"{path!r} is a parametrized {kind}")
    cell = isinstance(module, nn.RNNCellBase)
    rows = 0 if cell or module.batch_first else 1
    wanted = 2 if cell else 3
    states = () if all(_is_zero(work, state) for state in called.states) else called.states
    places = [(called.sequence, rows), *((state, 0 if cell else 1) for state in states)]
    inputs = [_input(work, node, source, axis, wanted, path) for source, axis in places]
    work.rows_axis[node] = rows
    return work.steps.add(kind, inputs, numbers_of(module, kind), name=path, owner=module, line=work.line(node))


def part_of(work: Translation, node: fx.Node) -> str | None:
    """The id of a part of what a recurrent layer returned; None where `node` is a part of something else."""
    place: list[int] = []
    source: Any = node
    while isinstance(source, fx.Node) and source.target is ITEM:
        place.insert(0, int(source.args[1]))  # type: ignore[arg-type]
        source = source.args[0]
    if source.op != "call_module":
        return None
    module = work.traced.modules[str(source.target)]
    ending = _MADE.get(type(module).__name__, {}).get(tuple(place))
    if ending is None:
        raise work.refuse(node, f"a part of what {node_name(source)} gives is not something that the engine torch has")
    is_state = ending != "" and not isinstance(module, nn.RNNCellBase)
    work.rows_axis[node] = 1 if is_state else work.rows_axis[source]
    return work.ids[source] + ending


def _called(work: Translation, node: fx.Node, path: str) -> _Called:
    given: dict[str, Any] = dict(zip(("input", "hx"), node.args, strict=False)) | dict(node.kwargs)
    sequence, states = given.get("input"), given.get("hx")
    listed = () if states is None else tuple(states) if isinstance(states, tuple | list) else (states,)
    if not isinstance(sequence, fx.Node) or not all(isinstance(state, fx.Node) for state in listed):
        raise work.refuse(node, f"{path!r} is called with something that is not a tensor")
    return _Called(sequence, listed)


def _input(work: Translation, node: fx.Node, source: fx.Node, rows: int, dimensions: int, path: str) -> str:
    """The id of a sequence or a state. Refused where it does not have its rows on the axis `rows`."""
    if work.stored.holds(source):
        return work.stored.as_rows(source, axis=rows)
    if work.rows_axis[source] != rows or work.value(source).dim() != dimensions:
        shape = list(work.value(source).shape)
        raise work.refuse(
            node,
            f"{path!r} takes rows on axis {rows} of {dimensions}, but its input of shape {shape} has them elsewhere: "
            "it would run from one row to the next",
            "Set batch_first, or permute the input.",
        )
    return work.id_of(source)


def _is_zero(work: Translation, state: fx.Node) -> bool:
    return work.stored.holds(state) and not bool(work.value(state).any())
