"""The bundle against the modules that it was made from: the same inputs must give the same outputs."""

import torch
from torch import Tensor

from latentmill.errors import InvalidBundle
from latentmill.exporting.examples import example_conditions, example_labels, example_latents, example_rows
from latentmill.exporting.modules import Called, run
from workers.models import Vae
from workers.models.heads import posterior_of

TOLERANCE = 1e-5
_BATCHES = (2, 64)  # neither is the batch that was traced


def compare(vae: Vae, encoder: Called | None, decoder: Called) -> float:
    """The largest difference, relative to the largest value where that is above 1. Raises InvalidBundle above 1e-5."""
    differences = []
    for seed, rows in enumerate(_BATCHES, start=10):
        conditions, labels = example_conditions(vae.manifest, rows), example_labels(vae.manifest, rows)
        if encoder is not None:
            given = example_rows(vae.manifest, rows, seed)
            wanted = posterior_of(run(encoder, given, conditions, "encoder"), vae.manifest)
            for name, ours, theirs in zip(("mean", "std"), vae.encode(given, labels), wanted, strict=True):
                differences.append(_difference(f"encoder's {name}", ours, theirs))
        latents = example_latents(vae.manifest, rows, seed)
        decoded = run(decoder, latents, conditions, "decoder")
        mean, std = vae.decode_with_std(latents.flatten(1), labels)
        differences.append(_difference("decoder's output", mean, decoded[0]))
        if std is not None:
            differences.append(_difference("decoder's std", std, decoded[1].abs()))
    return max(differences)


def _difference(what: str, ours: Tensor, theirs: Tensor) -> float:
    known = torch.isfinite(theirs)  # a variance head may be negative on made-up rows: then both are NaN
    if ours.shape != theirs.shape or not torch.equal(known, torch.isfinite(ours)):
        raise InvalidBundle(f"The {what} of the bundle, {list(ours.shape)}, is not the module's, {list(theirs.shape)}.")
    if not bool(known.any()):
        return 0.0
    difference = float((ours - theirs)[known].abs().max()) / max(1.0, float(theirs[known].abs().max()))
    if difference > TOLERANCE:
        raise InvalidBundle(
            f"The bundle would not do what the modules do: the {what} differs by {difference:.2g}, more than "
            f"{TOLERANCE:g}. Something in the modules depends on the batch, changes a value in place, or has options "
            "that a bundle has not."
        )
    return difference
