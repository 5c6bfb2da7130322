"""The bundle against the modules that it was made from: the same inputs must give the same outputs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentmill.errors import InvalidBundle
from latentmill.exporting.examples import bounded_rows, example_labels, example_latents, example_rows
from workers.models import Vae
from workers.models.heads import posterior_of

TOLERANCE = 1e-5
"""Of the largest value that the original gives, or of 1 where that is smaller: float32 has 6e-8 of a value."""

BATCHES = (2, 64)  # neither is the batch that was traced
_REASONS = (
    "Something in it may depend on the batch, change a value in place, have options that a bundle has not, or compute "
    "in another precision than float32."
)

# (rows, labels) or (latents, labels) of seeded batches -> what the original gives for them, as the bundle's parts do.
Original = Callable[[Tensor, Tensor | None], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Originals:
    """What the bundle is compared with: both parts as functions of a batch and its class indices."""

    encoder: Original | None
    decoder: Original
    name: str  # "modules", "ONNX files"
    batches: tuple[int, ...] = BATCHES


def compare(vae: Vae, originals: Originals) -> float:
    """The largest difference, as a share of the original's largest value where that is above 1.

    Batches of 2 and 64 seeded rows are compared (of fewer where rows are large), and one row by itself: with what the
    original gives for it alone, since kernels for one row may differ from those for two by more than TOLERANCE. Raises
    InvalidBundle above TOLERANCE, saying where the largest difference is.
    """
    differences = []
    for seed, wanted in enumerate(originals.batches, start=10):
        rows = bounded_rows(vae.manifest, wanted)
        labels = example_labels(vae.manifest, rows)
        given, latents = example_rows(vae.manifest, rows, seed), example_latents(vae.manifest, rows, seed)
        for batch in (slice(None), slice(1)):
            y = None if labels is None else labels[batch]
            differences += _encoded(vae, originals, given[batch], y)
            differences += _decoded(vae, originals, latents[batch], y)
    return max(differences)


def _encoded(vae: Vae, originals: Originals, given: Tensor, labels: Tensor | None) -> list[float]:
    if originals.encoder is None:
        return []
    theirs = posterior_of(originals.encoder(given, labels), vae.manifest)
    named = zip(("mean", "std"), vae.encode(given, labels), theirs, strict=True)
    return [_difference(f"encoder's {name}", mine, other, originals.name) for name, mine, other in named]


def _decoded(vae: Vae, originals: Originals, latents: Tensor, labels: Tensor | None) -> list[float]:
    theirs = originals.decoder(latents, labels)
    mean, std = vae.decode_with_std(latents.flatten(1), labels)
    differences = [_difference("decoder's output", mean, theirs[0], originals.name)]
    if std is not None:
        differences.append(_difference("decoder's std", std, theirs[1].abs(), originals.name))
    return differences


def _difference(what: str, ours: Tensor, theirs: Tensor, original: str) -> float:
    known = torch.isfinite(theirs)  # a variance head may be negative on made-up rows: then both are NaN
    if ours.shape != theirs.shape:
        raise InvalidBundle(
            f"The {what} of the bundle has the shape {list(ours.shape)}, that of the {original} {list(theirs.shape)}."
        )
    if not torch.equal(known, torch.isfinite(ours)):
        raise InvalidBundle(f"The {what} of the bundle is NaN or infinite in other places than that of the {original}.")
    if not bool(known.any()):
        return 0.0
    distance = torch.where(known, (ours - theirs).abs(), 0.0)
    scale = max(1.0, float(theirs[known].abs().max()))
    difference = float(distance.max()) / scale
    if difference > TOLERANCE:
        place = tuple(int(index) for index in np.unravel_index(int(distance.argmax()), tuple(distance.shape)))
        raise InvalidBundle(
            f"The bundle would not do what the {original} do: the {what} differs by {difference:.2g} of its largest "
            f"value ({scale:.3g}), more than {TOLERANCE:g}. The largest difference is at {list(place)} (row first): "
            f"{float(ours[place]):.6g} in the bundle, {float(theirs[place]):.6g} in the {original}. {_REASONS}"
        )
    return difference
