"""ONNX files of a user's own, read whole: weights that lie beside them are taken in."""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from latentmill.errors import InvalidBundle
from latentmill.exporting.onnx.tidying import graphs_of, inputs_of, too_large
from workers.models.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from onnx import ModelProto

_INSTEAD = {
    ".h5": "a Keras file: convert it with tf2onnx (tf2onnx.convert.from_keras), or model.export(path, format='onnx')",
    ".keras": "a Keras file: convert it with model.export(path, format='onnx') or tf2onnx.convert.from_keras",
    ".tflite": "a TensorFlow Lite file: convert it with python -m tf2onnx.convert --tflite",
    ".pb": "a TensorFlow graph: convert it with python -m tf2onnx.convert",
    ".pt": "a checkpoint of PyTorch: give its modules to latentmill.export_vae",
    ".pth": "a checkpoint of PyTorch: give its modules to latentmill.export_vae",
    ".ckpt": "a checkpoint: give its modules to latentmill.export_vae",
    ".pkl": "a Python pickle, which can run code when it is opened",
    ".safetensors": "weights without a graph: give the modules to latentmill.export_vae",
}


def read_model(path: "str | PathLike[str]", part: str) -> "ModelProto":
    """The graph at `path`, in one piece and without functions of its own. Raises InvalidBundle in words."""
    import onnx
    from google.protobuf.message import DecodeError

    file = Path(path)
    if file.is_dir():
        raise InvalidBundle(
            f"The {part}, {file.name}, is a folder (a SavedModel?): convert it with python -m tf2onnx.convert "
            "--saved-model, or with Keras' model.export(path, format='onnx')."
        )
    if instead := _INSTEAD.get(file.suffix.lower()):
        raise InvalidBundle(f"The {part}, {file.name}, is {instead}.")
    try:
        size = file.stat().st_size
        if size > DEFAULT_LIMITS.graph_bytes:
            raise too_large(part, size)
        model = onnx.load_model(file, load_external_data=False)
    except OSError as error:
        raise InvalidBundle(f"The {part}, {file}, cannot be read: {error.strerror or error}.") from error
    except DecodeError as error:
        raise InvalidBundle(f"The {part}, {file.name}, is no ONNX graph, or a damaged one ({error}).") from error
    if not model.graph.node:
        raise InvalidBundle(f"The {part}, {file.name}, holds no ONNX graph; export it again.")
    _take_in(model, file, part)
    if model.functions:
        from onnx.inliner import inline_local_functions

        model = inline_local_functions(model)
    return model


def _take_in(model: "ModelProto", file: Path, part: str) -> None:
    """Weights that lie in files beside this one become part of the graph, where they fit its limit."""
    from onnx.external_data_helper import load_external_data_for_model, uses_external_data

    outside = [tensor for graph in graphs_of(model.graph) for tensor in graph.initializer if uses_external_data(tensor)]
    if not outside:
        return
    said = [{entry.key: entry.value for entry in tensor.external_data} for tensor in outside]
    names = sorted({str(each.get("location")) for each in said})
    if sum(int(each.get("length", 0)) for each in said) + model.ByteSize() > DEFAULT_LIMITS.graph_bytes:
        raise too_large(part, sum(int(each.get("length", 0)) for each in said) + model.ByteSize())
    try:
        load_external_data_for_model(model, str(file.parent))
    except Exception as error:  # onnx raises what its reader found: of its own kinds, OSError, ValueError
        raise InvalidBundle(
            f"The {part}, {file.name}, has weights in {', '.join(names)} beside it, which cannot be read: "
            f"{str(error).splitlines()[0][:200]}. Keep the files together."
        ) from error


def described(model: "ModelProto") -> str:
    """Inputs and outputs in a line, for messages."""
    given = ", ".join(_shown(value.name, shape_of(value)) for value in inputs_of(model.graph))
    made = ", ".join(_shown(value.name, shape_of(value)) for value in model.graph.output)
    return f"inputs {given}; outputs {made}"


def shape_of(value: "object") -> list[int | None] | None:
    """The shape that an input or output says, None for an axis of any length; None where it says no shape."""
    tensor = value.type.tensor_type  # type: ignore[attr-defined]
    if not tensor.HasField("shape"):
        return None
    return [axis.dim_value if axis.HasField("dim_value") else None for axis in tensor.shape.dim]


def _shown(name: str, shape: list[int | None] | None) -> str:
    axes = "" if shape is None else f" [{', '.join('?' if axis is None else str(axis) for axis in shape)}]"
    return f"{name!r}{axes}"
