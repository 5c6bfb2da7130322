"""All that a bundle's graphs must fulfil before they are run for anybody; nothing of them is run here."""

import torch

from latentmill.errors import InvalidBundle
from latentmill.specs import VaeManifest
from workers.models.bundle import Bundle
from workers.models.heads import heads_of
from workers.models.onnx.interface import DYNAMIC_AXIS, check_interface, input_shapes
from workers.models.onnx.outputs import outputs_of
from workers.models.onnx.parsing import parse_graph
from workers.models.onnx.walk import Walked, walk

BATCHES = (1, 3, 8)  # an axis of one hides much


def check_graphs(bundle: Bundle) -> int:
    """The graphs give what the manifest says, for batches of 1, 3 and 8 rows. Returns the most values per row.

    Raises InvalidBundle, which names the node, the weight or the input, the bound and the way out.
    """
    return max(_check_graph(bundle, part) for part in bundle.graphs)


def _check_graph(bundle: Bundle, part: str) -> int:
    file, manifest = f"{part}.onnx", bundle.manifest
    model = parse_graph(bundle.graphs[part], file, bundle.limits)
    check_interface(model, part, manifest)
    names = {value.name for value in model.graph.input}
    most = 1
    for rows in BATCHES:
        given = {name: shape for name, shape in input_shapes(part, manifest, rows).items() if name in names}
        walked = walk(model, file, given, rows, bundle.limits)
        outputs = [_output(name, walked, file) for name in outputs_of(part, manifest)]
        _check_first_axis(outputs, part, manifest, rows)
        (_check_decoded if part == "decoder" else _check_encoded)(outputs, manifest, rows)
        most = max(most, walked.largest)
    return most


def _output(name: str, walked: Walked, file: str) -> tuple[int, ...]:
    from onnx import TensorProto

    if name not in walked.shapes or walked.kinds[name] != TensorProto.FLOAT:
        raise InvalidBundle(f"{file}: the output {name!r} is not what a node makes in float32; end with a Cast to it.")
    return walked.shapes[name]


def _check_first_axis(outputs: list[tuple[int, ...]], part: str, manifest: VaeManifest, rows: int) -> None:
    for name, shape in zip(outputs_of(part, manifest), outputs, strict=True):
        if shape[:1] != (rows,):
            raise InvalidBundle(
                f"{part}.onnx gives {name!r} of the shape {list(shape)} for {rows} rows: the first axis is the batch. "
                f"A Reshape, an Expand or a constant in it may be written for the batch of the export; {DYNAMIC_AXIS}."
            )


def _check_decoded(outputs: list[tuple[int, ...]], manifest: VaeManifest, rows: int) -> None:
    shape, expected = outputs[0], (rows, *manifest.rows.shape)
    categories = manifest.likelihood.kind == "categorical" and shape[:-1] == expected
    if shape != expected and not categories:
        raise InvalidBundle(
            f"decoder.onnx gives rows of shape {list(shape[1:])}, but rows says {list(manifest.rows.shape)}: correct "
            "it, or end the decoder with a Reshape.",
            pointer="/rows/shape",
        )
    for std in outputs[1:]:
        if len(std) != len(shape) or any(ours not in (1, theirs) for ours, theirs in zip(std, shape, strict=True)):
            raise InvalidBundle(
                f"decoder.onnx gives 'std' of shape {list(std)} beside 'x' of {list(shape)}: each value has "
                "its own, or shares it along an axis of 1.",
                pointer="/likelihood/std",
            )


def _check_encoded(outputs: list[tuple[int, ...]], manifest: VaeManifest, rows: int) -> None:
    heads_of(tuple(torch.empty(shape, device="meta") for shape in outputs), manifest)
