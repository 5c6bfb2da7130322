"""What a graph takes and gives, by its own word, against what the manifest says: names, kinds of numbers, shapes."""

from typing import TYPE_CHECKING

from latentmill.errors import InvalidBundle
from latentmill.specs import VaeManifest
from workers.models.onnx.outputs import outputs_of
from workers.models.onnx.weights import kind_name
from workers.models.unfit import QUANTISED

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

DYNAMIC_AXIS = (
    "export with a free batch axis: torch.onnx.export(..., dynamo=True, "
    "dynamic_shapes=({0: torch.export.Dim('N')}, ...)), or an input signature of tf.TensorSpec([None, ...]) for tf2onnx"
)
_WHOLE = {"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"}
_GIVEN = {"decoder": "z", "encoder": "x"}


def input_shapes(part: str, manifest: VaeManifest, rows: int) -> dict[str, tuple[int, ...]]:
    """Shapes of all that a part may be given for a batch of so many rows."""
    shape = manifest.latent.shape if part == "decoder" else manifest.rows.shape
    shapes: dict[str, tuple[int, ...]] = {_GIVEN[part]: (rows, *shape)}
    if manifest.labels is not None:
        one_hot = manifest.labels.encoding == "one_hot"
        shapes["y"] = (rows, len(manifest.labels.classes)) if one_hot else (rows,)
    return shapes


def check_interface(model: "ModelProto", part: str, manifest: VaeManifest) -> None:
    """Raises InvalidBundle, naming the input or output, unless the graph takes and gives what the manifest says."""
    _check_inputs(model, part, manifest)
    file = f"{part}.onnx"
    given = {value.name: value for value in model.graph.output}
    for name in outputs_of(part, manifest):
        if name not in given:
            found = ", ".join(repr(each[:50]) for each in list(given)[:8]) or "none"
            raise InvalidBundle(
                f"{file} has no output {name!r}; it has {found}. {_meaning(part, name)} Name it at the export: "
                f"output_names={list(outputs_of(part, manifest))}."
            )
        _check_kind(given[name], f"{file}: the output {name!r}", "FLOAT")
        _check_batch_axis(given[name], f"{file}: the output {name!r}")


def _check_inputs(model: "ModelProto", part: str, manifest: VaeManifest) -> None:
    file, expected = f"{part}.onnx", input_shapes(part, manifest, 1)
    found = [value.name for value in model.graph.input]
    if len(set(found)) != len(found):
        raise InvalidBundle(f"{file} names an input more than once; export it again.")
    needed = _GIVEN[part]
    if needed not in found:
        names = ", ".join(repr(name[:50]) for name in found[:8]) or "none"
        raise InvalidBundle(
            f"{file} has no input {needed!r}; it has {names}. Name it at the export: input_names={list(expected)}."
        )
    if "y" in expected and part == "decoder" and "y" not in found:
        raise InvalidBundle(
            "The model has labels, but decoder.onnx has no input 'y': name it at the export, or leave out labels.",
            pointer="/labels",
        )
    for value in model.graph.input:
        if value.name not in expected:
            labelled = " labels is null: say which classes there are." if value.name == "y" else ""
            raise InvalidBundle(
                f"{file} has the input {value.name[:50]!r}, which nobody would give it; it is given "
                f"{' and '.join(expected)}.{labelled}",
                pointer="/labels" if value.name == "y" else "",
            )
        _check_input(value, f"{file}: the input {value.name!r}", expected[value.name], manifest)


def _check_input(value: "ValueInfoProto", which: str, shape: tuple[int, ...], manifest: VaeManifest) -> None:
    indexed = value.name == "y" and manifest.labels is not None and manifest.labels.encoding == "index"
    _check_kind(value, which, "INT64" if indexed else "FLOAT")
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return
    _check_batch_axis(value, which)
    said = [each.dim_value if each.HasField("dim_value") else None for each in tensor.shape.dim]
    fits = len(said) == len(shape) and all(
        ours is None or ours == wanted for ours, wanted in zip(said[1:], shape[1:], strict=True)
    )
    if not fits:
        source = {"z": "latent.shape", "x": "rows.shape", "y": "labels"}[value.name]
        shown = ", ".join("?" if length is None else str(length) for length in said)
        raise InvalidBundle(
            f"{which} has the shape [{shown}], but by {source} of vae.json it is given {_shown(shape)}: do "
            "the graphs and vae.json belong together?",
            pointer=f"/{source.replace('.', '/')}",
        )


def _shown(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(['N', *map(str, shape[1:])])}]"


def _check_kind(value: "ValueInfoProto", which: str, wanted: str) -> None:
    if not value.type.HasField("tensor_type"):
        raise InvalidBundle(f"{which} is no tensor: sequences, optionals, maps and sparse tensors are not run here.")
    found = kind_name(value.type.tensor_type.elem_type)
    if value.name == "mean" and found in _WHOLE:
        raise InvalidBundle(f"{which} is of {found}, as the codes of a VQ-VAE. {QUANTISED}", pointer="/encoder")
    if found != wanted:
        how = (
            "the index of a class is given as int64 (encoding one_hot gives float32)"
            if wanted == "INT64"
            else "end or begin the graph with a Cast to float32"
        )
        raise InvalidBundle(f"{which} is of {found}, not of {wanted}: {how}.")


def _check_batch_axis(value: "ValueInfoProto", which: str) -> None:
    dimensions = value.type.tensor_type.shape.dim
    if value.type.tensor_type.HasField("shape") and not dimensions:
        raise InvalidBundle(f"{which} is a single number: its first axis must be the batch; {DYNAMIC_AXIS}.")
    if dimensions and dimensions[0].HasField("dim_value"):
        raise InvalidBundle(
            f"{which} has a fixed batch axis of {dimensions[0].dim_value}: rows come in batches of many sizes; "
            f"{DYNAMIC_AXIS}."
        )


def _meaning(part: str, name: str) -> str:
    if name == "std":
        return "The likelihood's std is learned, so the decoder gives one."
    if name == "scale":
        return "The head is a pair: mean, and scale; a head in one tensor is all in mean, as head says."
    return "The decoded rows are x." if part == "decoder" else "The encoder's first output is mean."
