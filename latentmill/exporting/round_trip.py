"""The bundle against the modules that it was made from: the same inputs must give the same outputs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentmill.errors import InvalidBundle
from latentmill.exporting.examples import example_labels, example_latents, example_rows
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

    Batches of 2 and 64 seeded rows are compared, and one row by itself with what it was in its batch. Raises
    InvalidBundle above TOLERANCE, saying where the largest difference is.
    """
    differences = []
    for seed, rows in enumerate(originals.batches, start=10):
        labels = example_labels(vae.manifest, rows)
        one = None if labels is None else labels[:1]
        if originals.encoder is not None:
            given = example_rows(vae.manifest, rows, seed)
            wanted = posterior_of(originals.encoder(given, labels), vae.manifest)
            found = [(vae.encode(given, labels), wanted), (vae.encode(given[:1], one), [value[:1] for value in wanted])]
            for ours, theirs in found:
                for name, mine, other in zip(("mean", "std"), ours, theirs, strict=True):
                    differences.append(_difference(f"encoder's {name}", mine, other, originals.name))
        latents = example_latents(vae.manifest, rows, seed)
        decoded = originals.decoder(latents, labels)
        flat = latents.flatten(1)
        for count, y in ((rows, labels), (1, one)):
            mean, std = vae.decode_with_std(flat[:count], y)
            differences.append(_difference("decoder's output", mean, decoded[0][:count], originals.name))
            if std is not None:
                differences.append(_difference("decoder's std", std, decoded[1][:count].abs(), originals.name))
    return max(differences)


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
