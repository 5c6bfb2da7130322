"""Encoder and decoder as networks of the architecture `sequential`, with the user's modules to compare them to."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from latentmill.exporting.examples import example_conditions, example_latents, example_rows
from latentmill.exporting.modules import Called, called, run
from latentmill.exporting.refusal import refusal
from latentmill.exporting.tracing import trace
from latentmill.exporting.translation import Translation
from latentmill.specs import VaeManifest
from workers.models.heads import expected_outputs, learns_std

_TRACE_ROWS = 3  # a number that few axes have, so that a fixed batch axis is not taken for another


@dataclass(frozen=True)
class Exported:
    """One network as JSON, its weights, the module that it must agree with, and what the user should know."""

    network: dict[str, Any]
    weights: dict[str, Tensor]
    module: Called
    notes: list[str]


def export_encoder(module: nn.Module, manifest: VaeManifest) -> Exported:
    """The encoder: x [, y] -> the heads that the manifest declares."""
    rows = example_rows(manifest, _TRACE_ROWS, seed=1)
    adapted, outputs = called(module, rows, example_conditions(manifest, _TRACE_ROWS), "encoder")
    declared = manifest.encoder
    assert declared is not None
    if len(outputs) != expected_outputs(declared):
        raise refusal(
            "encoder",
            f"it returns {len(outputs)} tensors, but head {declared.head!r} with scale {declared.scale!r} means "
            f"{expected_outputs(declared)}",
            way_out="pair: (mean, scale); chunked or interleaved: one tensor with both; scale none: the mean alone. "
            "An encoder that also draws z must not.",
        )
    notes = ["The encoder takes flat rows; the bundle flattens them first."] if adapted.flat_input else []
    return _exported(adapted, rows, manifest, "encoder", notes)


def export_decoder(module: nn.Module, manifest: VaeManifest) -> Exported:
    """The decoder: z [, y] -> rows, given the shape that rows have where it returns them flat."""
    latents = example_latents(manifest, _TRACE_ROWS, seed=2)
    adapted, outputs = called(module, latents, example_conditions(manifest, _TRACE_ROWS), "decoder")
    wanted = 2 if learns_std(manifest) else 1
    if len(outputs) != wanted:
        raise refusal(
            "decoder",
            f"it returns {len(outputs)} tensors instead of {wanted}",
            way_out='Return x alone, or (x, std) with likelihood {"kind": "gaussian", "std": "learned"}.',
        )
    shape = manifest.rows.shape
    notes = []
    if all(
        tuple(o.shape) != (_TRACE_ROWS, *shape) and o.numel() == _TRACE_ROWS * torch.Size(shape).numel()
        for o in outputs
    ):
        adapted = type(adapted)(adapted.module, flat_input=adapted.flat_input, row_shape=shape)
        notes = [
            f"The decoder returns rows of shape {list(outputs[0].shape[1:])}; the bundle gives them {list(shape)}."
        ]
    return _exported(adapted, latents, manifest, "decoder", notes)


def _exported(adapted: Called, given: Tensor, manifest: VaeManifest, part: str, notes: list[str]) -> Exported:
    labels = example_conditions(manifest, _TRACE_ROWS)
    device = next((weight.device for weight in adapted.parameters()), torch.device("cpu"))
    inputs = {"given": given.to(device)} | ({} if labels is None else {"y": labels.to(device)})
    network, weights = Translation(trace(adapted, inputs, part), part, "x" if part == "encoder" else "z").network()
    first, second = (run(adapted, given, labels, part) for _ in range(2))
    if not all(torch.equal(a, b) for a, b in zip(first, second, strict=True)):
        raise refusal(
            part,
            "it gives different results for the same input",
            way_out="Return mean and scale without drawing from them; Latentmill draws the latents itself.",
        )
    return Exported(network, {f"{part}.{name}": tensor for name, tensor in weights.items()}, adapted, notes)
