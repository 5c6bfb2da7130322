"""Which outputs of a graph are read; all others are ignored."""

from latentmill.specs import VaeManifest
from latentmill.specs.bundle import Encoder
from workers.models.heads import expected_outputs, learns_std


def outputs_of(part: str, manifest: VaeManifest) -> tuple[str, ...]:
    """Names in order: x [, std] of a decoder; mean [, scale] of an encoder, or both in mean if they are one."""
    if part == "decoder":
        return ("x", "std") if learns_std(manifest) else ("x",)
    return ("mean", "scale")[: expected_outputs(manifest.encoder or Encoder())]
