"""Recurrent steps: each row is a sequence (steps, values). The batch axis is first in all of them, states included.

The weights are torch.nn's, by its names. Initial states are zeros, or inputs of the step. A step of a whole sequence
makes, beside the sequence, the last hidden state of every layer and direction as `<id>.hidden`, and for an LSTM its
cell as `<id>.cell`. Both are (n, layers * directions, values), in torch's order: the last entry is torch's `h[-1]`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from workers.models.architectures.sequential.layers import BIAS, Layer
from workers.models.architectures.sequential.numbers import Number, choice, flag, integer

WIDEST = 65_536
DEEPEST = 64
_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


class Gru(nn.GRU):
    """(n, steps, input_size) [, hidden (n, layers * directions, hidden_size)] -> the sequence, the last hidden."""

    def forward(self, sequence: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, ...]:  # type: ignore[override]
        return _through(self, super().forward, sequence, () if hidden is None else (hidden,))


class Rnn(nn.RNN):
    """As `Gru`."""

    def forward(self, sequence: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, ...]:  # type: ignore[override]
        return _through(self, super().forward, sequence, () if hidden is None else (hidden,))


class Lstm(nn.LSTM):
    """(n, steps, input_size) [, hidden, cell] -> the sequence, the last hidden state, the last cell."""

    def forward(  # type: ignore[override]
        self, sequence: Tensor, hidden: Tensor | None = None, cell: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        return _through(self, super().forward, sequence, () if hidden is None or cell is None else (hidden, cell))


class LstmCell(nn.LSTMCell):
    """One step: (n, input_size) [, hidden (n, hidden_size), cell (n, hidden_size)] -> the next hidden and cell."""

    def forward(  # type: ignore[override]
        self, value: Tensor, hidden: Tensor | None = None, cell: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        return super().forward(value, None if hidden is None or cell is None else (hidden, cell))


def operations_per_step(module: nn.RNNBase | nn.RNNCellBase) -> int:
    """Multiplications and additions for one step of one row, in all layers and directions."""
    return sum(weight.numel() for weight in module.parameters() if weight.dim() == 2)


def turns_per_step(module: nn.RNNBase) -> int:
    """How many cells wait for the one before them at each step of a sequence."""
    return module.num_layers * _directions(module)


def _directions(module: nn.RNNBase) -> int:
    return 2 if module.bidirectional else 1


def _through(
    module: nn.RNNBase, forward: Callable[..., Any], sequence: Tensor, initial: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """What torch gives, with the states' batch axis first."""
    _check(module, sequence, initial)
    if sequence.is_meta:
        return _made(module, sequence)
    given = tuple(state.transpose(0, 1).contiguous() for state in initial)
    made, last = forward(sequence, given[0] if len(given) == 1 else given or None)
    states = last if isinstance(last, tuple) else (last,)
    return made, *(state.transpose(0, 1).contiguous() for state in states)


def _check(module: nn.RNNBase, sequence: Tensor, initial: tuple[Tensor, ...]) -> None:
    if sequence.dim() != 3 or sequence.shape[1] < 1 or sequence.shape[2] != module.input_size:
        raise RuntimeError(
            f"a sequence is (rows, steps, {module.input_size}), not of shape {list(sequence.shape)}: input_size says "
            "how many values a step has"
        )
    sizes = (module.proj_size or module.hidden_size, module.hidden_size)
    for state, size in zip(initial, sizes, strict=False):
        expected = (len(sequence), turns_per_step(module), size)
        if tuple(state.shape) != expected:
            raise RuntimeError(
                f"an initial state is (rows, layers * directions, values) = {list(expected)}, not {list(state.shape)}"
            )


def _made(module: nn.RNNBase, sequence: Tensor) -> tuple[Tensor, ...]:
    """The shapes alone: torch would take a dry run through every step of the sequence.

    The gates of a whole layer are one value, and so is what it hands to the next layer.
    """
    rows, steps, _ = sequence.shape
    directions, out = _directions(module), module.proj_size or module.hidden_size
    made = sequence
    for _ in range(module.num_layers):
        sequence.new_empty(rows, steps, directions * _GATES[module.mode] * module.hidden_size)
        made = sequence.new_empty(rows, steps, directions * out)
    hidden = sequence.new_empty(rows, turns_per_step(module), out)
    if module.mode != "LSTM":
        return made, hidden
    return made, hidden, sequence.new_empty(rows, turns_per_step(module), module.hidden_size)


def _whole(layer: type[nn.RNNBase]) -> Callable[..., nn.Module]:
    def make(**numbers: Any) -> nn.Module:
        return layer(batch_first=True, **numbers)

    return make


_WIDTH = Number(integer(1, WIDEST))
_CELL = {"input_size": _WIDTH, "hidden_size": _WIDTH, "bias": BIAS}
_SEQUENCE = {**_CELL, "num_layers": Number(integer(1, DEEPEST), 1), "bidirectional": Number(flag, False)}
_PLAIN = {"nonlinearity": Number(choice("tanh", "relu"), "tanh")}

RECURRENT: Mapping[str, Layer] = {
    "GRU": Layer(_whole(Gru), _SEQUENCE, range(1, 3), ("hidden",)),
    "LSTM": Layer(
        _whole(Lstm),
        {**_SEQUENCE, "proj_size": Number(integer(0, WIDEST), 0)},
        range(1, 4, 2),
        ("hidden", "cell"),
    ),
    "RNN": Layer(_whole(Rnn), {**_SEQUENCE, **_PLAIN}, range(1, 3), ("hidden",)),
    "GRUCell": Layer(nn.GRUCell, _CELL, range(1, 3)),
    "LSTMCell": Layer(LstmCell, _CELL, range(1, 4, 2), ("cell",)),
    "RNNCell": Layer(nn.RNNCell, {**_CELL, **_PLAIN}, range(1, 3)),
}
