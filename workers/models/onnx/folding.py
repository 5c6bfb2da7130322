"""Values that shapes are made of, computed as onnxruntime would: what `Shape` gives, and the arithmetic done with it.

A Reshape or an Expand takes its shape as a tensor. While a graph is walked on shapes alone these few, small tensors are
known; whatever else an operator gives stays unknown.
"""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Attributes = Mapping[str, Any]

VALUES_AT_MOST = 1_024
_EXACT_AT_MOST = 2**53


class Unknown(Exception):
    """The value cannot be told without running the graph."""


def fold(operator: str, attributes: Attributes, inputs: list[Array | None], opset: int) -> Array:
    """The first output of an operator whose inputs are known (None: left out). Raises Unknown."""
    if operator not in _FOLDED:
        raise Unknown
    try:
        with np.errstate(all="ignore"):
            value = np.asarray(_FOLDED[operator](attributes, inputs, opset))
    except (ValueError, IndexError, TypeError, KeyError, OverflowError, ZeroDivisionError, AttributeError) as error:
        raise Unknown from error
    if value.size > VALUES_AT_MOST:
        raise Unknown
    return value


def _elementwise(function: Callable[..., Array]) -> Callable[[Attributes, list[Any], int], Array]:
    def compute(attributes: Attributes, inputs: list[Any], opset: int) -> Array:
        _bound(np.broadcast_shapes(*(array.shape for array in inputs)))
        kind = inputs[0].dtype
        made = function(*inputs)
        return made if made.dtype == np.bool_ else made.astype(kind)

    return compute


def _bound(shape: tuple[int, ...]) -> tuple[int, ...]:
    if prod(shape) > VALUES_AT_MOST:
        raise Unknown
    return shape


def _divide(left: Array, right: Array) -> Array:
    """Whole numbers are divided towards zero, as C does."""
    if not np.issubdtype(left.dtype, np.integer):
        return left / right
    if not right.all():
        raise Unknown
    quotient = np.abs(left) // np.abs(right)
    return quotient * np.sign(left) * np.sign(right)


def _modulo(attributes: Attributes, inputs: list[Any], opset: int) -> Array:
    """With the sign of the divisor, or with `fmod` that of what is divided."""
    left, right = inputs
    if np.issubdtype(left.dtype, np.integer) and not right.all():
        raise Unknown
    return _elementwise(np.fmod if attributes.get("fmod") else np.mod)(attributes, inputs, opset)


def _cast(attributes: Attributes, inputs: list[Any], opset: int) -> Array:
    from onnx.helper import tensor_dtype_to_np_dtype

    kind = tensor_dtype_to_np_dtype(attributes["to"])
    value: Array = inputs[0]
    if np.issubdtype(value.dtype, np.floating) and not (np.abs(value) < _EXACT_AT_MOST).all():
        raise Unknown
    return np.asarray(value.astype(kind))


def _axes(attributes: Attributes, inputs: list[Any]) -> list[int] | None:
    """Axes stand in an attribute, or since opset 13 in the second input."""
    if len(inputs) > 1 and inputs[1] is not None:
        return [int(axis) for axis in inputs[1].reshape(-1)]
    return [int(axis) for axis in attributes["axes"]] if "axes" in attributes else None


def _squeeze(attributes: Attributes, inputs: list[Any], opset: int) -> Array:
    axes = _axes(attributes, inputs)
    return np.asarray(np.squeeze(inputs[0], None if axes is None else tuple(axes)))


def _unsqueeze(attributes: Attributes, inputs: list[Any], opset: int) -> Array:
    return np.asarray(np.expand_dims(inputs[0], tuple(_axes(attributes, inputs) or ())))


def _reduced(function: Callable[..., Array]) -> Callable[[Attributes, list[Any], int], Array]:
    def compute(attributes: Attributes, inputs: list[Any], opset: int) -> Array:
        axes = _axes(attributes, inputs)
        if not axes and attributes.get("noop_with_empty_axes"):
            return np.asarray(inputs[0])
        keeps = bool(attributes.get("keepdims", 1))
        reduced = function(inputs[0], axis=tuple(axes) if axes else None, keepdims=keeps)
        return reduced.astype(inputs[0].dtype)

    return compute


def _slice(attributes: Attributes, inputs: list[Any], opset: int) -> Array:
    from_attributes = [attributes.get(name) for name in ("starts", "ends", "axes")]
    said: list[Any] = [*(from_attributes if opset < 10 else inputs[1:]), None, None]
    starts, ends, axes, steps = said[:4]
    value: Array = inputs[0]
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    cut: list[Any] = [slice(None)] * value.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        low, high, by = int(start), int(end), int(step)
        length = value.shape[int(axis)]
        # With a step below 0 an end before the beginning is no index from the end.
        cut[int(axis)] = slice(low, None if by < 0 and high < -length else high, by)
    return np.asarray(value[tuple(cut)])


def _gather(attributes: Attributes, inputs: list[Any], opset: int) -> Array:
    axis, (value, indices) = attributes.get("axis", 0), inputs
    _bound((*value.shape[:axis], *indices.shape, *value.shape[axis + 1 :]) if axis >= 0 else indices.shape)
    return np.asarray(np.take(value, indices, axis=axis))


def _reshape(attributes: Attributes, inputs: list[Any], opset: int) -> Array:
    value, wanted = inputs
    zero_stays = not attributes.get("allowzero", 0)
    shape = [value.shape[at] if n == 0 and zero_stays else int(n) for at, n in enumerate(wanted)]
    return np.asarray(value.reshape(shape))


def _constant_of_shape(attributes: Attributes, inputs: list[Any], opset: int) -> Array:
    filled = attributes.get("value", np.zeros(1, np.float32))
    return np.full(_bound(tuple(int(n) for n in inputs[0])), filled.reshape(-1)[0], filled.dtype)


def _expand(attributes: Attributes, inputs: list[Any], opset: int) -> Array:
    shape = np.broadcast_shapes(inputs[0].shape, tuple(int(n) for n in inputs[1]))
    return np.broadcast_to(inputs[0], _bound(shape))


def _tile(attributes: Attributes, inputs: list[Any], opset: int) -> Array:
    value, repeats = inputs
    _bound(tuple(length * int(n) for length, n in zip(value.shape, repeats, strict=True)))
    return np.tile(value, [int(n) for n in repeats])


def _range(attributes: Attributes, inputs: list[Any], opset: int) -> Array:
    start, limit, delta = (array.reshape(()) for array in inputs)
    _bound((max(0, int(np.ceil((limit - start) / delta))),))
    return np.arange(start, limit, delta, dtype=start.dtype)


def _variadic(function: Callable[[Array, Array], Array]) -> Callable[[Attributes, list[Any], int], Array]:
    def compute(attributes: Attributes, inputs: list[Any], opset: int) -> Array:
        value: Array = inputs[0]
        for other in inputs[1:]:
            _bound(np.broadcast_shapes(value.shape, other.shape))
            value = function(value, other)
        return value

    return compute


_FOLDED: dict[str, Callable[[Attributes, list[Any], int], Array]] = {
    "Identity": lambda attributes, inputs, opset: inputs[0],
    "Add": _elementwise(np.add),
    "Sub": _elementwise(np.subtract),
    "Mul": _elementwise(np.multiply),
    "Div": _elementwise(_divide),
    "Mod": _modulo,
    "Neg": _elementwise(np.negative),
    "Abs": _elementwise(np.abs),
    "Floor": _elementwise(np.floor),
    "Ceil": _elementwise(np.ceil),
    "Round": _elementwise(np.round),
    "Sign": _elementwise(np.sign),
    "Sqrt": _elementwise(np.sqrt),
    "Equal": _elementwise(np.equal),
    "Less": _elementwise(np.less),
    "LessOrEqual": _elementwise(np.less_equal),
    "Greater": _elementwise(np.greater),
    "GreaterOrEqual": _elementwise(np.greater_equal),
    "And": _elementwise(np.logical_and),
    "Or": _elementwise(np.logical_or),
    "Not": _elementwise(np.logical_not),
    "Where": lambda attributes, inputs, opset: np.where(*inputs),
    "Min": _variadic(np.minimum),
    "Max": _variadic(np.maximum),
    "Cast": _cast,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "ReduceProd": _reduced(np.prod),
    "ReduceSum": _reduced(np.sum),
    "ReduceMax": _reduced(np.max),
    "ReduceMin": _reduced(np.min),
    "Concat": lambda attributes, inputs, opset: np.concatenate(inputs, axis=attributes["axis"]),
    "Slice": _slice,
    "Gather": _gather,
    "Reshape": _reshape,
    "Transpose": lambda attributes, inputs, opset: np.transpose(inputs[0], attributes.get("perm")),
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Tile": _tile,
    "Range": _range,
}
