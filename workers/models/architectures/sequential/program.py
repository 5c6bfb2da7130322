"""A program: steps in order, each a module that reads values by name, run as one torch module."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Step:
    """One step: the value that it makes, the layer and module that makes it, and the values that it reads.

    `also` names what else the module makes. A step that is the `same_as` an earlier one has its module, and weights.
    """

    id: str
    layer: str
    module: nn.Module
    inputs: tuple[str, ...]
    also: tuple[str, ...] = ()
    same_as: str | None = None

    @property
    def makes(self) -> tuple[str, ...]:
        """The names of its values."""
        return (self.id, *(f"{self.id}.{name}" for name in self.also))


class Program(nn.Module):
    """Runs `steps` on the first input (`x` or `z`) and the labels `y`, and returns `outputs`, all batch axis first.

    Weights are called `<step id>.<parameter>`. A value is let go after the last step that reads it.
    """

    def __init__(self, given: str, steps: list[Step], outputs: tuple[str, ...]) -> None:
        super().__init__()
        self._given = given
        self._outputs = outputs
        for step in steps:
            if step.same_as is None:
                self.add_module(step.id, step.module)
        # What a step makes that nothing reads goes at once: the states of a long sequence, for one.
        last_use = {name: index for index, step in enumerate(steps) for name in (*step.makes, *step.inputs)}
        self._schedule = [
            (
                step,
                tuple(n for n in {*step.makes, *step.inputs} if last_use[n] == index and n not in outputs),
            )
            for index, step in enumerate(steps)
        ]

    def forward(self, given: Tensor, labels: Tensor | None = None) -> tuple[Tensor, ...]:
        values = {self._given: given}
        if labels is not None:
            values["y"] = labels
        for step, done_with in self._schedule:
            try:
                made = step.module(*[values[name] for name in step.inputs])
            except RuntimeError as error:
                error.add_note(f"in the step {step.id!r} ({_described(step, values)})")
                raise
            if step.also:
                values.update(zip(step.makes, made, strict=True))
            else:
                values[step.id] = made
            for name in done_with:
                del values[name]
        return tuple(values[name] for name in self._outputs)


def _described(step: Step, values: dict[str, torch.Tensor]) -> str:
    shapes = ", ".join(f"{name} of shape {list(values[name].shape)}" for name in step.inputs)
    return f"{type(step.module).__name__} of {shapes}"
