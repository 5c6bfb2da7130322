"""Encoder and decoder as networks of the architecture `sequential`."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from latentmill.exporting.parts import Part
from latentmill.exporting.tracing import trace
from latentmill.exporting.translation import Translation


@dataclass(frozen=True)
class Network:
    """One part as JSON, and its weights by their names in the bundle."""

    steps: dict[str, Any]
    weights: dict[str, Tensor]


def network_of(part: Part) -> Network:
    """The steps that do what the part does. Raises InvalidBundle, naming the line, for what no step can do."""
    given = "x" if part.name == "encoder" else "z"
    steps, weights = Translation(trace(part.module, part.inputs, part.name), part.name, given).network()
    return Network(steps, {f"{part.name}.{name}": tensor for name, tensor in weights.items()})
