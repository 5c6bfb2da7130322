"""The steps of a network as they are written down, with their weights."""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from latentmill.exporting.refusal import refusal
from workers.models.architectures.sequential.architecture import ALLOWED
from workers.models.architectures.sequential.numbers import REQUIRED

_COUNTER = "num_batches_tracked"
_RESERVED = nn.Module()


@dataclass
class Steps:
    """What becomes one network of the architecture `sequential`, and the tensors that belong to it."""

    part: str
    given: str
    steps: list[dict[str, Any]] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)
    _owners: dict[int, str] = field(default_factory=dict)  # a module that runs again keeps its weights once
    _ids: set[str] = field(default_factory=lambda: {"x", "y", "z"})

    def add(
        self,
        layer: str,
        inputs: list[str],
        numbers: dict[str, Any] | None = None,
        *,
        name: str,
        owner: Any = None,
        line: str | None = None,
    ) -> str:
        """Write down one step and return its id. `owner` has the layer's weights as attributes.

        A torch module that is an owner for the second time is the same layer, run again.
        """
        step_id = self._free_id(name)
        previous = self.steps[-1]["id"] if self.steps else self.given
        declared: dict[str, Any] = {} if inputs == [previous] else {"inputs": inputs}
        if isinstance(owner, nn.Module) and id(owner) in self._owners:
            self.steps.append({"id": step_id, "same_as": self._owners[id(owner)], **declared})
            return step_id
        checked = self._checked(layer, numbers or {}, line)
        weights = self._weights(layer, checked, owner, line)
        allowed = ALLOWED[layer].numbers
        said = {
            key: _plain(value)
            for key, value in checked.items()
            if allowed[key].default is REQUIRED or value != allowed[key].check(allowed[key].default)
        }
        self.steps.append({"id": step_id, "layer": layer, **declared, **said})
        if weights and isinstance(owner, nn.Module):
            self._owners[id(owner)] = step_id
        self.weights |= {f"{step_id}.{key}": tensor for key, tensor in weights.items()}
        return step_id

    def network(self, outputs: list[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The network as JSON and its weights, without the steps that no output needs."""
        needed = {name.partition(".")[0] for name in outputs}
        kept: list[dict[str, Any]] = []
        for index in range(len(self.steps) - 1, -1, -1):
            step = self.steps[index]
            before = self.steps[index - 1]["id"] if index else self.given
            inputs = step.get("inputs", [before])
            if step["id"] in needed:
                needed |= {name.partition(".")[0] for name in inputs} | {step.get("same_as", "")}
                kept.insert(0, {**step, "inputs": inputs})
        previous = self.given
        for step in kept:
            if step["inputs"] == [previous]:
                del step["inputs"]
            previous = step["id"]
        ids = {step["id"] for step in kept}
        weights = {name: tensor for name, tensor in self.weights.items() if name.partition(".")[0] in ids}
        return {"steps": kept, "outputs": outputs}, weights

    def _checked(self, layer: str, numbers: dict[str, Any], line: str | None) -> dict[str, Any]:
        checked = {}
        for key, number in ALLOWED[layer].numbers.items():
            value = numbers.get(key, number.default)
            if value is REQUIRED:
                raise refusal(self.part, f"{layer} needs {key}", line=line)
            try:
                checked[key] = number.check(_plain(value))
            except ValueError as error:
                raise refusal(self.part, f"{key} of {layer} must be {error}, not {value!r}", line=line) from error
        return checked

    def _weights(self, layer: str, checked: dict[str, Any], owner: Any, line: str | None) -> dict[str, Tensor]:
        try:
            with torch.device("meta"):
                expected = ALLOWED[layer].make(**checked).state_dict()
        except (ValueError, TypeError, RuntimeError, AssertionError) as error:
            raise refusal(self.part, f"{layer} refuses its numbers: {error}", line=line) from error
        names = [key for key in expected if not key.endswith(_COUNTER)]
        return {key: getattr(owner, key).detach().to("cpu", torch.float32).clone() for key in names}

    def _free_id(self, name: str) -> str:
        wanted = re.sub(r"[^A-Za-z0-9_]", "_", name)[-56:] or "step"
        candidate, number = wanted, 2
        while candidate in self._ids or hasattr(_RESERVED, candidate):
            candidate, number = f"{wanted}_{number}", number + 1
        self._ids.add(candidate)
        return candidate


def _plain(value: Any) -> Any:
    """What JSON knows: lists for tuples, Python's numbers for numpy's, as in `nn.Linear(np.prod(shape), 10)`."""
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
