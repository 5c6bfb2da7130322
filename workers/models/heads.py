"""What an encoder's outputs mean: the heads as they were declared, turned into mean and std."""

import torch
from torch import Tensor

from latentmill.errors import InvalidBundle
from latentmill.specs import VaeManifest
from latentmill.specs.bundle import Encoder
from workers.models.unfit import SPHERICAL


def posterior_of(outputs: tuple[Tensor, ...], manifest: VaeManifest) -> tuple[Tensor, Tensor]:
    """Mean (n, D) and std (n, D) from the encoder's outputs (n, ...), by the declared head and scale."""
    mean, scale = heads_of(outputs, manifest)
    if scale is None:
        return mean, torch.zeros_like(mean)
    return mean, std_of(scale, (manifest.encoder or Encoder()).scale)


def heads_of(outputs: tuple[Tensor, ...], manifest: VaeManifest) -> tuple[Tensor, Tensor | None]:
    """Mean (n, D) and scale (n, D) as the encoder gives them. InvalidBundle where the outputs' shapes hold no such."""
    declared, latent_size = manifest.encoder or Encoder(), manifest.latent.size
    if declared.scale == "none":
        return _flat(outputs[0], latent_size, "mean"), None
    return _split(outputs, declared.head, latent_size)


def std_of(scale: Tensor, kind: str) -> Tensor:
    """The second head as a std. A std below zero counts as its absolute value; a variance below zero gives NaN."""
    match kind:
        case "log_variance":
            return torch.exp(0.5 * scale)
        case "log_std":
            return torch.exp(scale)
        case "variance":
            return torch.sqrt(scale)
        case "std":
            return torch.abs(scale)
    raise InvalidBundle(f"The encoder's scale cannot be {kind!r} here.", pointer="/encoder/scale")


def expected_outputs(declared: Encoder) -> int:
    """How many tensors an encoder with these heads returns."""
    return 2 if declared.head == "pair" and declared.scale != "none" else 1


def learns_std(manifest: VaeManifest) -> bool:
    """True where the decoder gives a std of its own beside x."""
    return manifest.likelihood.kind == "gaussian" and manifest.likelihood.std == "learned"


def _split(outputs: tuple[Tensor, ...], head: str, latent_size: int) -> tuple[Tensor, Tensor]:
    if head == "pair":
        return _flat(outputs[0], latent_size, "mean"), _flat(outputs[1], latent_size, "scale")
    both = outputs[0]
    if both.shape[1:].numel() != 2 * latent_size:
        raise InvalidBundle(
            f"The encoder's output has shape {list(both.shape)} for a batch of {len(both)}: the head {head!r} needs "
            f"{2 * latent_size} values per row, twice the latent size.",
            pointer="/encoder/head",
        )
    if head == "interleaved":
        mean, scale = both.reshape(len(both), latent_size, 2).unbind(-1)
        return mean, scale
    if both.shape[1] % 2:
        raise InvalidBundle(
            f"The head 'chunked' halves axis 1, which has {both.shape[1]} entries.", pointer="/encoder/head"
        )
    mean, scale = both.chunk(2, dim=1)
    return mean.flatten(1), scale.flatten(1)


def _flat(output: Tensor, latent_size: int, what: str) -> Tensor:
    if output.shape[1:].numel() != latent_size:
        if what == "scale" and output.shape[1:].numel() == 1:
            raise InvalidBundle(
                f"The encoder's scale has shape {list(output.shape)}, one for all {latent_size} values of a latent. If "
                f"it is their std, expand it to the shape of the mean. {SPHERICAL}",
                pointer="/encoder/scale",
            )
        raise InvalidBundle(
            f"The encoder's {what} has shape {list(output.shape)} for a batch of {len(output)}, but latent.shape has "
            f"{latent_size} values per row. Do encoder and decoder belong together?",
            pointer="/latent/shape",
        )
    return output.reshape(len(output), latent_size)
