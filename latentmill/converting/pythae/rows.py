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


def check_rows(declared: dict[str, Any], shape: tuple[int, ...]) -> None:
    """Rows of the model's shape, or the same values in one axis: in another order they would be other rows."""
    try:
        wanted = TypeAdapter[Any](Rows).validate_python(declared).shape
    except ValidationError:
        return  # the exporter says what is wrong with it, field by field
    if wanted != shape and (prod(wanted) != prod(shape) or 1 not in (len(wanted), len(shape))):
        raise InvalidBundle(
            f"rows have the shape {list(wanted)}, but the model's input_dim is {list(shape)}.", pointer="/rows/shape"
        )
