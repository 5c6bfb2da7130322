"""The user's modules, called the way a bundle calls its networks, and left as they were found."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from latentmill.errors import InvalidBundle
from latentmill.exporting.refusal import refusal, user_line

_CHANGED_BY_TRAINING = ("BatchNorm", "Dropout", "InstanceNorm")


class Called(nn.Module):
    """A module with the input and output shapes of a bundle: flat input where it wants that, rows in their shape."""

    def __init__(
        self, module: nn.Module, *, flat_input: bool = False, row_shape: tuple[int, ...] | None = None
    ) -> None:
        super().__init__()
        self.module = module
        self.flat_input = flat_input
        self.row_shape = row_shape
        self.eval()

    def forward(self, given: Tensor) -> Any:
        return self._run(given)

    def _run(self, given: Tensor, *labels: Tensor) -> Any:
        output = self.module(given.flatten(1) if self.flat_input else given, *labels)
        if self.row_shape is None:
            return output
        parts = output if isinstance(output, tuple | list) else (output,)
        shaped = tuple(part.reshape(part.shape[0], *self.row_shape) for part in parts)
        return shaped if isinstance(output, tuple | list) else shaped[0]


class CalledWithLabels(Called):
    """As `Called`, for conditional modules."""

    def forward(self, given: Tensor, y: Tensor) -> Any:  # type: ignore[override]
        return self._run(given, y)


@contextmanager
def evaluating(*modules: nn.Module | None) -> Iterator[list[str]]:
    """The modules in evaluation mode; afterwards each part is as it was. Gives what the user should know of it."""
    found = [part for module in modules if module is not None for part in module.modules()]
    modes = [part.training for part in found]
    affected = {name for part in found for name in _CHANGED_BY_TRAINING if name in type(part).__name__}
    try:
        for part in found:
            part.training = False
        yield [f"{' and '.join(sorted(affected))} exported in evaluation mode."] if affected else []
    finally:
        for part, mode in zip(found, modes, strict=True):
            part.training = mode


def check_module(module: Any, part: str) -> None:
    """A torch module with finite float32 weights. Raises InvalidBundle otherwise."""
    if isinstance(module, torch.jit.ScriptModule):
        raise InvalidBundle(
            f"The {part} is a TorchScript module, which cannot be read; give the torch.nn.Module that it was made of."
        )
    if not isinstance(module, nn.Module):
        raise InvalidBundle(f"The {part} is a {type(module).__name__}; it must be a torch.nn.Module.")
    for name, weight in [*module.named_parameters(), *module.named_buffers()]:
        if weight.is_floating_point() and weight.dtype != torch.float32:
            raise InvalidBundle(
                f"The {part}'s {name} is {weight.dtype}; bundles hold float32: call {part}.float() first."
            )
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
            raise InvalidBundle(f"The {part}'s {name} has values that are NaN or infinite; take an earlier checkpoint.")


def called(module: nn.Module, given: Tensor, labels: Tensor | None, part: str) -> tuple[Called, tuple[Tensor, ...]]:
    """The module as it can be called on `given`, flat if it must be, and its outputs. Raises InvalidBundle."""
    kind = Called if labels is None else CalledWithLabels
    try:
        adapted = kind(module)
        return adapted, run(adapted, given, labels, part)
    except InvalidBundle:
        if given.dim() <= 2:
            raise
        flat = kind(module, flat_input=True)
        try:
            return flat, run(flat, given, labels, part)
        except InvalidBundle:
            pass
        raise


def run(module: nn.Module, given: Tensor, labels: Tensor | None, part: str) -> tuple[Tensor, ...]:
    """The module's outputs as a tuple. Raises InvalidBundle with its own error when it does not run."""
    device = next((weight.device for weight in module.parameters()), torch.device("cpu"))
    inputs = [value.to(device) for value in (given, labels) if value is not None]
    try:
        with torch.no_grad():
            output = module(*inputs)
    except Exception as error:  # a stranger's forward method may raise anything
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        shapes = " and ".join(str(list(value.shape)) for value in inputs)
        raise refusal(
            part,
            f"it does not run on input of shape {shapes}: {first_line}",
            line=user_line(error.__traceback__),
            way_out="Do rows, latent_shape and labels say what your modules take?",
        ) from error
    outputs = tuple(output) if isinstance(output, tuple | list) else (output,)
    if not all(isinstance(value, Tensor) for value in outputs):
        names = ", ".join(type(value).__name__ for value in outputs)
        raise refusal(part, f"it returns {names}", way_out="Return a tensor or a tuple of tensors.")
    return tuple(value.detach().cpu() for value in outputs)
