"""What of a pythae model becomes the bundle's networks, and what they mean."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from latentmill.converting.pythae.flows import flow_of
from latentmill.converting.pythae.networks import Posterior, Reconstruction
from latentmill.converting.pythae.pseudo_inputs import mixture_of
from latentmill.converting.pythae.source import Source
from latentmill.errors import InvalidBundle
from latentmill.exporting.modules import evaluating, run


@dataclass(frozen=True)
class Parts:
    """The networks, what they mean, and what the user should know of it."""

    encoder: nn.Module | None
    decoder: nn.Module
    latent_shape: list[int]
    scale: str
    prior: dict[str, Any]
    notes: list[str]


def parts_of(source: Source, row_shape: tuple[int, ...], *, decoder_only: bool) -> Parts:
    """The networks of `source`, whose encoder takes rows of `row_shape`.

    Raises InvalidBundle where the encoder gives no posterior of what is decoded.
    """
    latents = source.latents
    if latents.moved and not decoder_only:
        raise InvalidBundle(
            f"{source.name} moves what the encoder's gaussian gives by Hamiltonian steps, which need the gradient of "
            "the decoder: what the decoder was trained on has no mean and std that an encoder gives. "
            "decoder_only=True (--decoder-only) makes a bundle of the decoder with the prior that pythae trains "
            "against; latents that you draw with pythae can be uploaded and fitted."
        )
    deterministic = latents.scale == "none" or bool(source.config.get("deterministic_posterior"))
    posterior = None if source.encoder is None else Posterior(source.encoder, row_shape, scale=not deterministic)
    shape = [source.latent_size] if posterior is None else _latent_shape(posterior, row_shape)
    prior, notes = _prior(source, posterior, row_shape)
    flow = None
    if latents.flow and not decoder_only:
        flow, prior = flow_of(source.name, source.config, source.weights), {"kind": "none"}
        notes.append(
            "Latents are those before the flow, whose posterior is gaussian; the decoder begins with the flow. "
            "pythae's prior lies behind it: draw from a fit, or make a bundle with decoder_only=True for that prior."
        )
    scale = "none" if deterministic else "log_variance"
    decoder = Reconstruction(source.decoder, flow)
    return Parts(None if decoder_only else posterior, decoder, shape, scale, prior, notes)


def _prior(source: Source, posterior: nn.Module | None, row_shape: tuple[int, ...]) -> tuple[dict[str, Any], list[str]]:
    latents = source.latents
    notes = [latents.note.format(name=source.name)] if latents.note else []
    if latents.prior == "none":
        return {"kind": "none"}, [*notes, f"{source.name} has no prior: draw from a fit."]
    if latents.prior == "standard_normal":
        return {"kind": "standard_normal"}, notes
    assert posterior is not None  # a folder is not opened without the encoder that its prior is made of
    mixture = mixture_of(source.weights, posterior, row_shape)
    told = f"The prior is the mixture of the posteriors of its {len(mixture['weights'])} pseudo-inputs."
    return mixture, [*notes, told]


def _latent_shape(posterior: nn.Module, row_shape: tuple[int, ...]) -> list[int]:
    """Measured, where there is an encoder: its latents may keep axes."""
    with evaluating(posterior):
        mean = run(posterior, torch.zeros(2, *row_shape), None, "encoder")[0]
    return list(mean.shape[1:])
