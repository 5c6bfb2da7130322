"""Two foreign graphs as a bundle: logits and flat rows seen to, compared with the files, written."""

from math import prod

import torch
from torch import Tensor, nn

from latentmill.errors import InvalidBundle
from latentmill.export import ExportedBundle
from latentmill.exporting.engines import JUDGED_ROWS, Export, judged_rows
from latentmill.exporting.examples import (
    bounded_rows,
    example_labels,
    example_latents,
    example_rows,
    given_examples,
)
from latentmill.exporting.onnx.foreign import Foreign
from latentmill.exporting.parts import TRACE_ROWS, check_rows
from latentmill.exporting.probabilities import last_layer
from latentmill.exporting.round_trip import Original, Originals
from latentmill.exporting.writing import graph_members
from latentmill.specs import VaeManifest
from workers.models.heads import posterior_of
from workers.models.rows_alone import check_rows_alone

_FILES = "ONNX files"


def write_pair(export: Export, pair: dict[str, Foreign]) -> ExportedBundle:
    """The bundle of the graphs in `pair`, by part. Raises InvalidBundle where it would not do what the files do."""
    manifest = export.declared.manifest("onnx")
    examples = None if export.examples is None else given_examples(manifest, export.examples)
    encoder = pair["encoder"].original if "encoder" in pair else None
    if encoder is not None:
        labels = example_labels(manifest, TRACE_ROWS)
        posterior_of(encoder(example_rows(manifest, TRACE_ROWS, seed=1), labels), manifest)
    shapes, notes = _row_shapes(pair["decoder"].original, manifest)
    decoder = _ending(pair["decoder"].original, shapes, None)
    reconstructed = examples if encoder is not None else None
    judged = judged_rows(
        Originals(encoder, decoder, _FILES), manifest, reconstructed, export.declared.prior.get("means")
    )
    wanted = None if reconstructed is None else reconstructed.rows[: bounded_rows(manifest, JUDGED_ROWS)]
    last, more = last_layer(judged, manifest, export.returns, wanted)
    graphs = {}
    for part, foreign in pair.items():
        is_decoder = part == "decoder"
        graphs[part], done = foreign.graph(manifest, last if is_decoder else None, shapes if is_decoder else {})
        notes += [*foreign.roles.notes, *done]
    originals = Originals(encoder, _ending(decoder, {}, last), _FILES)
    try:
        difference = export.write(manifest, graph_members(graphs), originals, check_rows_alone)
    except InvalidBundle as error:
        _raise_with_batch(error, pair)
        raise
    engine = "Engine onnx, for both parts are ONNX graphs." if encoder else "Engine onnx, for it is an ONNX graph."
    return export.finished(manifest, difference, [*export.head_notes(examples), *notes, *more, engine])


def _row_shapes(decoder: Original, manifest: VaeManifest) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """The shape that outputs get where the file gives rows flat; and a note of it."""
    latents, labels = example_latents(manifest, TRACE_ROWS, seed=2), example_labels(manifest, TRACE_ROWS)
    outputs, shape = decoder(latents, labels), manifest.rows.shape
    roles = ("x", "std")[: len(outputs)]
    flat = all(o.shape[1:] != shape and o[0].numel() == prod(shape) for o in outputs)
    if not flat:
        check_rows(outputs, manifest)
        return {}, []
    return dict.fromkeys(roles, shape), [
        f"The decoder returns rows of shape {list(outputs[0].shape[1:])}; the bundle gives them {list(shape)}."
    ]


def _ending(decoder: Original, shapes: dict[str, tuple[int, ...]], last: nn.Module | None) -> Original:
    """The decoder's outputs in these shapes, with `last` behind the first."""

    def decode(latents: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
        outputs = decoder(latents, labels)
        if shapes:
            outputs = tuple(output.reshape(len(output), *shapes["x"]) for output in outputs)
        if last is None:
            return outputs
        with torch.no_grad():
            return (last(outputs[0]), *outputs[1:])

    return decode


def _raise_with_batch(error: InvalidBundle, pair: dict[str, Foreign]) -> None:
    """The same error with a word more, where a batch axis had to be made free."""
    fixed = [f"{foreign.file} at {foreign.batch}" for foreign in pair.values() if foreign.batch is not None]
    if fixed:
        raise InvalidBundle(
            f"The batch axis is fixed ({', '.join(fixed)}), and cannot simply be made free: {error.detail} Convert it "
            "with a free one: an input signature of tf.TensorSpec([None, ...]) for tf2onnx, dynamic_axes or "
            "dynamic_shapes for torch.onnx."
        ) from error
