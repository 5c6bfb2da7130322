"""What a row of a pythae model is, as its input_dim says it or as the user does."""

from math import prod
from typing import Any

from pydantic import TypeAdapter, ValidationError

from latentmill.errors import InvalidBundle
from latentmill.specs.rows import Rows

_CHANNELS_AT_MOST = 4


def proposed_rows(shape: tuple[int, ...]) -> tuple[dict[str, Any], str]:
    """Rows of `shape`, and what the user should know of it: pythae's decoders end in [0, 1] by its convention."""
    if len(shape) == 3 and shape[0] <= _CHANNELS_AT_MOST:
        image = {"kind": "image", "shape": list(shape), "range": [0, 1]}
        return image, "Rows are taken for images with values in [0, 1], as pythae has them; give rows if not."
    tensor = {"kind": "tensor", "shape": list(shape)}
    return tensor, "Rows are taken for tensors of numbers without names; give rows to say what they are."


def checked_shape(declared: dict[str, Any] | None, shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """The shape of what the encoder takes: the model's, else that of the declared rows.

    Declared rows have the model's shape, or the same values in one axis: in another order they would be other rows.
    """
    wanted = None if declared is None else _declared_shape(declared)
    if shape is None:
        if wanted is None:
            raise InvalidBundle(
                "The model's configuration has no input_dim: give rows, which say the shape of a row.", pointer="/rows"
            )
        return wanted
    if wanted is None or wanted == shape or (prod(wanted) == prod(shape) and 1 in (len(wanted), len(shape))):
        return shape
    raise InvalidBundle(
        f"rows have the shape {list(wanted)}, but the model's input_dim is {list(shape)}.", pointer="/rows/shape"
    )


def _declared_shape(declared: dict[str, Any]) -> tuple[int, ...] | None:
    try:
        shape: tuple[int, ...] = TypeAdapter[Any](Rows).validate_python(declared).shape
    except ValidationError:
        return None  # the exporter says what is wrong with it, field by field
    return shape
