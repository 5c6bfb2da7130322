"""The user's modules, called the way a bundle calls its networks, and left as they were found."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from latentmill.errors import InvalidBundle
from latentmill.exporting.outputs import Key, chosen, keys_of
from latentmill.exporting.refusal import refusal, user_line
from latentmill.exporting.unfit import refuse_codes

_CHANGED_BY_TRAINING = ("BatchNorm", "Dropout", "InstanceNorm")


class Called(nn.Module):
    """A module with the input and output of a bundle: flat input where it wants that, the outputs that are wanted.

    `keys` picks the outputs, `row_shape` is the shape that rows get, `last` is applied to the first output.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        flat_input: bool = False,
        keys: tuple[Key, ...] | None = None,
        row_shape: tuple[int, ...] | None = None,
        last: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.module = module
        self.flat_input = flat_input
        self.keys = keys
        self.row_shape = row_shape
        self.last = last
        self.eval()

    def forward(self, given: Tensor) -> Any:
        return self._run(given)

    def like(self, **changed: Any) -> "Called":
        """The same with other options."""
        options = {name: getattr(self, name) for name in ("flat_input", "keys", "row_shape", "last")}
        return type(self)(self.module, **{**options, **changed})

    def _run(self, given: Tensor, *labels: Tensor) -> Any:
        output = self.module(given.flatten(1) if self.flat_input else given, *labels)
        if self.keys is None:
            return output
        parts = chosen(output, self.keys)
        if self.row_shape is not None:
            parts = tuple(part.reshape(part.shape[0], *self.row_shape) for part in parts)
        if self.last is not None:
            parts = (self.last(parts[0]), *parts[1:])
        return parts if len(parts) > 1 else parts[0]


class CalledWithLabels(Called):
    """As `Called`, for conditional modules."""

    def forward(self, given: Tensor, y: Tensor) -> Any:  # type: ignore[override]
        return self._run(given, y)


@contextmanager
def evaluating(*modules: nn.Module | None) -> Iterator[list[str]]:
    """The modules in evaluation mode; afterwards each part is as it was. Gives what the user should know of it.

    Distributions do not check their arguments meanwhile: those checks are conditions on values, and none is exported.
    """
    found = [part for module in modules if module is not None for part in module.modules()]
    modes = [part.training for part in found]
    affected = {name for part in found for name in _CHANGED_BY_TRAINING if name in type(part).__name__}
    checked = Distribution._validate_args
    try:
        Distribution.set_default_validate_args(False)
        for part in found:
            part.training = False
        yield [f"{' and '.join(sorted(affected))} exported in evaluation mode."] if affected else []
    finally:
        Distribution.set_default_validate_args(checked)
        for part, mode in zip(found, modes, strict=True):
            part.training = mode


def called(
    module: nn.Module,
    given: Tensor,
    labels: Tensor | None,
    *,
    part: str,
    wanted: tuple[str, ...],
    said: Mapping[str, Key],
    scale: str,
) -> tuple[Called, tuple[Tensor, ...]]:
    """The module as it can be called on `given`, flat if it must be, and the outputs `wanted`. Raises InvalidBundle."""
    plain = (Called if labels is None else CalledWithLabels)(module)
    try:
        adapted, returned = plain, call(plain, given, labels, part)
    except InvalidBundle:
        if given.dim() <= 2:
            raise
        adapted = plain.like(flat_input=True)
        try:
            returned = call(adapted, given, labels, part)
        except InvalidBundle:
            returned = None
        if returned is None:
            raise
    adapted = adapted.like(keys=tuple(keys_of(returned, wanted, said, part=part, scale=scale)))
    return adapted, run(adapted, given, labels, part)


def call(module: nn.Module, given: Tensor, labels: Tensor | None, part: str) -> Any:
    """What the module returns. Raises InvalidBundle with its own error when it does not run."""
    device = device_of(module)
    inputs = [value.to(device) for value in (given, labels) if value is not None]
    try:
        with torch.no_grad():
            return module(*inputs)
    except Exception as error:  # a stranger's forward method may raise anything
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        shapes = " and ".join(str(list(value.shape)) for value in inputs)
        raise refusal(
            part,
            f"it does not run on input of shape {shapes}: {first_line}",
            line=user_line(error.__traceback__),
            way_out=_way_out_of(first_line),
        ) from error


def run(module: nn.Module, given: Tensor, labels: Tensor | None, part: str) -> tuple[Tensor, ...]:
    """The module's outputs as a tuple of tensors (rows, ...) float32 on the CPU. Raises InvalidBundle otherwise."""
    output = call(module, given, labels, part)
    outputs = tuple(output) if isinstance(output, tuple | list) else (output,)
    for value in outputs:
        if not isinstance(value, Tensor):
            raise refusal(
                part, f"it returns a {type(value).__name__}", way_out="Return a tensor or a tuple of tensors."
            )
        if part == "encoder":
            refuse_codes(value)
        if value.dtype != torch.float32:
            raise refusal(
                part, f"it returns {value.dtype}", way_out=f"Bundles compute in float32: call {part}.float() first."
            )
        if value.shape[:1] != given.shape[:1]:
            way_out = "Keep that axis free: x.view(x.shape[0], -1) in place of x.view(64, -1)."
            if value.shape[:1] == (1,):
                way_out = "Give what is the same for all rows to each of them: self.scale.expand(x.shape[0], -1)."
            what = f"it returns {list(value.shape)} for {len(given)} rows: the first axis must be that of the rows"
            raise refusal(part, what, way_out=way_out)
    return tuple(value.detach().cpu() for value in outputs)


def device_of(module: nn.Module) -> torch.device:
    """Where the module's weights lie."""
    return next((weight.device for weight in module.parameters()), torch.device("cpu"))


def _way_out_of(message: str) -> str:
    way_out = "Do rows, latent_shape and labels say what your modules take?"
    if "invalid for input of size" in message or "hidden" in message:
        way_out += " A module made for one batch size must take it from its input: x.view(x.shape[0], -1)."
    return way_out
