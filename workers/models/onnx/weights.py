"""Tensors as a graph stores them: what they hold is in the graph itself, and as much as their shapes say."""

from functools import cache
from math import prod
from typing import TYPE_CHECKING

from latentmill.errors import InvalidBundle

if TYPE_CHECKING:
    from onnx import TensorProto

_SIZE_AT_MOST = 2**40
_DIMENSIONS_AT_MOST = 16


@cache
def item_bytes() -> dict[int, int]:
    """Bytes of a value, by the kinds of numbers that graphs may compute with."""
    from onnx import TensorProto as Kind

    return {
        **dict.fromkeys((Kind.BOOL, Kind.INT8, Kind.UINT8), 1),
        **dict.fromkeys((Kind.FLOAT16, Kind.BFLOAT16, Kind.INT16, Kind.UINT16), 2),
        **dict.fromkeys((Kind.FLOAT, Kind.INT32, Kind.UINT32), 4),
        **dict.fromkeys((Kind.DOUBLE, Kind.INT64, Kind.UINT64), 8),
    }


def kind_name(kind: int) -> str:
    """The name of a kind of number, for messages."""
    from onnx import TensorProto

    return str(TensorProto.DataType.Name(kind)) if kind in TensorProto.DataType.values() else f"kind {kind}"


def check_tensor(tensor: "TensorProto", which: str) -> int:
    """How many values the tensor has. Raises InvalidBundle where they lie elsewhere, or are others than it says."""
    if tensor.data_location or tensor.external_data:
        raise InvalidBundle(
            f"{which} lies in a file beside the graph (external data): save the graph in one piece, with "
            "torch.onnx.export(..., external_data=False) or onnx.save_model(model, path, save_as_external_data=False)."
        )
    if tensor.data_type not in item_bytes():
        raise InvalidBundle(
            f"{which} holds values of {kind_name(tensor.data_type)}: 8 bits or more, or booleans, are allowed."
        )
    if len(tensor.dims) > _DIMENSIONS_AT_MOST or any(not 0 <= length <= _SIZE_AT_MOST for length in tensor.dims):
        raise InvalidBundle(f"{which} has a shape that no tensor has: {str(list(tensor.dims))[:80]}.")
    size: int = prod(tensor.dims)
    if size > _SIZE_AT_MOST or tensor.HasField("segment"):
        raise InvalidBundle(f"{which} has a shape that no tensor has: {str(list(tensor.dims))[:80]}.")
    held = _held(tensor)
    if held != size:
        found = f"{held:,}".removesuffix(".0")
        raise InvalidBundle(f"{which} says shape {list(tensor.dims)}, which is {size:,} values, but holds {found}.")
    return size


def _held(tensor: "TensorProto") -> int | float:
    """How many values are stored, whichever of the fields they lie in; they may lie in one of them only."""
    counts = [
        len(tensor.raw_data) / item_bytes()[tensor.data_type],
        *(len(tensor.float_data), len(tensor.double_data)),
        *(len(tensor.int32_data), len(tensor.int64_data), len(tensor.uint64_data)),
    ]
    filled = [count for count in counts if count]
    return filled[0] if len(filled) == 1 else sum(filled)
