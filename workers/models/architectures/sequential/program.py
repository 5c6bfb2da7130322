"""A program: steps in order, each a module that reads values by name, run as one torch module."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Step:
    """One step: the value that it makes, the module that makes it, and the values that it reads."""

    id: str
    module: nn.Module
    inputs: tuple[str, ...]


class Program(nn.Module):
    """Runs `steps` on the first input (`x` or `z`) and the labels `y`, and returns `outputs`, all batch axis first.

    Weights are called `<step id>.<parameter>`. A value is let go after the last step that reads it.
    """

    def __init__(self, given: str, steps: list[Step], outputs: tuple[str, ...]) -> None:
        super().__init__()
        self._given = given
        self._outputs = outputs
        for step in steps:
            self.add_module(step.id, step.module)
        last_read = {name: index for index, step in enumerate(steps) for name in step.inputs}
        self._schedule = [
            (step, tuple(name for name in set(step.inputs) if last_read[name] == index and name not in outputs))
            for index, step in enumerate(steps)
        ]

    def forward(self, given: Tensor, labels: Tensor | None = None) -> tuple[Tensor, ...]:
        values = {self._given: given}
        if labels is not None:
            values["y"] = labels
        for step, done_with in self._schedule:
            try:
                values[step.id] = step.module(*[values[name] for name in step.inputs])
            except RuntimeError as error:
                error.add_note(f"in the step {step.id!r} ({_described(step, values)})")
                raise
            for name in done_with:
                del values[name]
        return tuple(values[name] for name in self._outputs)


def _described(step: Step, values: dict[str, torch.Tensor]) -> str:
    shapes = ", ".join(f"{name} of shape {list(values[name].shape)}" for name in step.inputs)
    return f"{type(step.module).__name__} of {shapes}"
