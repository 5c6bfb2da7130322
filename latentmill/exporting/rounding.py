"""What float32 costs a module by itself: its distance from its own twin in float64."""

import copy

import torch
from torch import Tensor

from latentmill.exporting.parts import Part
from latentmill.exporting.round_trip import Original
from latentmill.specs import VaeManifest
from workers.models.labels import conditions


def in_float64(part: Part, manifest: VaeManifest) -> Original | None:
    """The part computed in float64; None where it cannot be: a module may hold what cannot be copied."""
    try:
        twin = copy.deepcopy(part.module).to("cpu", torch.float64)
    except Exception:  # a stranger's module may refuse in any way
        return None

    def run(given: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
        y = None if labels is None else conditions(labels, manifest)
        inputs = [given.double()] if y is None else [given.double(), y.double() if y.is_floating_point() else y]
        with torch.no_grad():
            output = twin(*inputs)
        return tuple(output) if isinstance(output, tuple | list) else (output,)

    return run
