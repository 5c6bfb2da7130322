"""Steps that move, join and scale values: the part of a forward method that is not a torch.nn layer."""

from collections.abc import Callable, Mapping
from functools import partial, reduce

import torch
from torch import Tensor, nn

from workers.models.architectures.sequential.layers import SIZE, Layer
from workers.models.architectures.sequential.numbers import (
    LARGEST,
    Number,
    axis,
    either,
    flag,
    integer,
    integers,
    nothing,
    real,
)


def _row_axis(dim: int, value: Tensor) -> int:
    """`dim` counted from the front. Raises RuntimeError where it is the batch axis in disguise."""
    front = dim + value.dim() if dim < 0 else dim
    if not 1 <= front < value.dim():
        raise RuntimeError(f"axis {dim} of a value of shape {list(value.shape)} is not an axis within a row")
    return front


class Reshape(nn.Module):
    """Each row takes another shape: (n, ...) -> (n, *shape)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, value: Tensor) -> Tensor:
        return value.reshape(len(value), *self.shape)


class Flatten(nn.Module):
    """Axes start_dim to end_dim of the batch become one; axis 0 is not among them."""

    def __init__(self, start_dim: int, end_dim: int) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, value: Tensor) -> Tensor:
        return value.flatten(_row_axis(self.start_dim, value), _row_axis(self.end_dim, value))


class Unflatten(nn.Module):
    """One axis becomes several."""

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        super().__init__()
        self.dim, self.unflattened_size = dim, unflattened_size

    def forward(self, value: Tensor) -> Tensor:
        dim = _row_axis(self.dim, value)
        return value.reshape(*value.shape[:dim], *self.unflattened_size, *value.shape[dim + 1 :])


class Permute(nn.Module):
    """The axes of each row in another order; `dims` counts from 1, since axis 0 stays."""

    def __init__(self, dims: tuple[int, ...]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, value: Tensor) -> Tensor:
        return value.permute(0, *self.dims).contiguous()


class Expand(nn.Module):
    """Axes of size 1 are repeated to (n, *shape)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, value: Tensor) -> Tensor:
        return value.expand(len(value), *self.shape)


class Concat(nn.Module):
    """Values side by side along one axis."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *values: Tensor) -> Tensor:
        return torch.cat(values, dim=_row_axis(self.dim, values[0]))


class Add(nn.Module):
    def forward(self, *values: Tensor) -> Tensor:
        return reduce(torch.add, values)


class Subtract(nn.Module):
    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return first - second


class Multiply(nn.Module):
    def forward(self, *values: Tensor) -> Tensor:
        return reduce(torch.mul, values)


class Divide(nn.Module):
    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return first / second


class Slice(nn.Module):
    """A range of one axis, as Python slices count."""

    def __init__(self, dim: int, start: int | None, stop: int | None, step: int) -> None:
        super().__init__()
        self.dim, self.range = dim, slice(start, stop, step)

    def forward(self, value: Tensor) -> Tensor:
        index = [slice(None)] * value.dim()
        index[_row_axis(self.dim, value)] = self.range
        return value[tuple(index)]


class Select(nn.Module):
    """One entry of one axis; the axis goes."""

    def __init__(self, dim: int, index: int) -> None:
        super().__init__()
        self.dim, self.index = dim, index

    def forward(self, value: Tensor) -> Tensor:
        return value.select(_row_axis(self.dim, value), self.index)


class Flip(nn.Module):
    """Some axes of each row from back to front: a series in reverse."""

    def __init__(self, dims: tuple[int, ...]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, value: Tensor) -> Tensor:
        return value.flip([_row_axis(dim, value) for dim in self.dims])


class Reduction(nn.Module):
    """Some axes of each row to one value: their mean, sum, maximum or minimum."""

    def __init__(self, how: Callable[..., Tensor], dims: tuple[int, ...], keepdim: bool) -> None:
        super().__init__()
        self.how, self.dims, self.keepdim = how, dims, keepdim

    def forward(self, value: Tensor) -> Tensor:
        return self.how(value, [_row_axis(dim, value) for dim in self.dims], keepdim=self.keepdim)


class Affine(nn.Module):
    """value * scale + offset, both fixed numbers."""

    def __init__(self, scale: float, offset: float) -> None:
        super().__init__()
        self.scale, self.offset = scale, offset

    def forward(self, value: Tensor) -> Tensor:
        if self.offset == 0.0:
            return value * self.scale
        return (value if self.scale == 1.0 else value * self.scale) + self.offset


class Clamp(nn.Module):
    def __init__(self, minimum: float | None, maximum: float | None) -> None:
        super().__init__()
        self.minimum, self.maximum = minimum, maximum

    def forward(self, value: Tensor) -> Tensor:
        return value.clamp(self.minimum, self.maximum)


class Function(nn.Module):
    """A function of each value by itself."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, value: Tensor) -> Tensor:
        return self.function(value)


class OneHot(nn.Module):
    """Class indices (n, ...) -> (n, ..., classes) of zeros and ones."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, index: Tensor) -> Tensor:
        return (index.unsqueeze(-1) == torch.arange(self.classes, device=index.device)).float()


class Constant(nn.Module):
    """A stored value of the model, the same for every row: (n, ...) -> (n, *shape). Its weight is called `value`."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(shape))

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.value)

    def forward(self, batch: Tensor) -> Tensor:
        return self.value.expand(len(batch), *self.value.shape)


_SHAPE = Number(integers(range(0, 8)))
_DIMS = Number(integers(range(1, 8), -7, 7))
_SEVERAL = range(2, 65)
_POSITION = Number(either(nothing, integer(-LARGEST)), None)

FUNCTIONS = {
    "Exp": torch.exp, "Log": torch.log, "Abs": torch.abs, "Sqrt": torch.sqrt, "Sin": torch.sin, "Cos": torch.cos,
}  # fmt: skip

REDUCTIONS: Mapping[str, Callable[..., Tensor]] = {
    "Mean": torch.mean, "Sum": torch.sum, "Max": torch.amax, "Min": torch.amin,
}  # fmt: skip

STRUCTURE: Mapping[str, Layer] = {
    "Reshape": Layer(Reshape, {"shape": Number(integers(range(0, 8), -1))}),
    "Flatten": Layer(Flatten, {"start_dim": Number(axis, 1), "end_dim": Number(axis, -1)}),
    "Unflatten": Layer(Unflatten, {"dim": Number(axis), "unflattened_size": Number(integers(range(1, 8)))}),
    "Permute": Layer(Permute, {"dims": Number(integers(range(1, 8), 1, 7))}),
    "Expand": Layer(Expand, {"shape": _SHAPE}),
    "Concat": Layer(Concat, {"dim": Number(axis, 1)}, _SEVERAL),
    "Add": Layer(Add, {}, _SEVERAL),
    "Subtract": Layer(Subtract, {}, range(2, 3)),
    "Multiply": Layer(Multiply, {}, _SEVERAL),
    "Divide": Layer(Divide, {}, range(2, 3)),
    "Slice": Layer(Slice, {"dim": Number(axis), "start": _POSITION, "stop": _POSITION, "step": Number(integer(), 1)}),
    "Select": Layer(Select, {"dim": Number(axis), "index": Number(integer(-LARGEST))}),
    "Flip": Layer(Flip, {"dims": _DIMS}),
    **{
        name: Layer(partial(Reduction, how), {"dims": _DIMS, "keepdim": Number(flag, False)})
        for name, how in REDUCTIONS.items()
    },
    "Affine": Layer(Affine, {"scale": Number(real(), 1.0), "offset": Number(real(), 0.0)}),
    "Clamp": Layer(
        Clamp,
        {"minimum": Number(either(nothing, real()), None), "maximum": Number(either(nothing, real()), None)},
    ),
    **{name: Layer(partial(Function, function), {}) for name, function in FUNCTIONS.items()},
    "OneHot": Layer(OneHot, {"classes": SIZE}),
    "Constant": Layer(Constant, {"shape": _SHAPE}),
}
