"""One model of pythae's, whether it was a folder or a live object: its class, configuration, networks and weights."""

from copy import deepcopy
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from torch import nn

from latentmill.converting.pythae.classes import Latents, latents_of
from latentmill.converting.pythae.folder import check_default, class_name, read_config, read_weights
from latentmill.converting.pythae.networks import DefaultDecoder, DefaultEncoder, Weights, filled
from latentmill.errors import InvalidBundle

_DECISIVE = ("forward", "_sample_gauss", "_log_p_z")  # who changes these draws other latents, or from another prior


@dataclass(frozen=True)
class Source:
    """A class of pythae's by name, what it says of its latents, and the networks that were trained."""

    name: str
    latents: Latents
    config: dict[str, Any]
    weights: Weights = field(repr=False)
    encoder: nn.Module
    decoder: nn.Module
    own_loss: bool = False

    @property
    def row_shape(self) -> tuple[int, ...]:
        return _shape(self.config)


def open_folder(folder: Path, encoder: nn.Module | None, decoder: nn.Module | None) -> Source:
    """The model that pythae saved in `folder`; networks of the user's own are given, and filled from it."""
    config = read_config(folder)
    name = class_name(config)
    latents, shape = latents_of(name), _shape(config)
    for part, given in (("encoder", encoder), ("decoder", decoder)):
        if given is None:
            check_default(folder, config, part)
    weights, size = read_weights(folder), _latent_size(config)
    scale = latents.scale != "none"  # Adversarial_AE has the head also where its posterior is deterministic
    first = DefaultEncoder(prod(shape), size, scale=scale) if encoder is None else deepcopy(encoder)
    last = DefaultDecoder(size, shape) if decoder is None else deepcopy(decoder)
    return Source(name, latents, config, weights, filled(first, weights, "encoder"), filled(last, weights, "decoder"))


def of_model(model: nn.Module) -> Source:
    """A live model. Of a class of the user's own, what its nearest ancestor in pythae says, unless that was changed."""
    lineage = type(model).__mro__
    ancestor = next((kind for kind in lineage if kind.__module__.startswith("pythae.models.")), None)
    if ancestor is None or ancestor.__name__ == "BaseAE":
        raise InvalidBundle(
            f"{type(model).__name__} is not a model of pythae's that Latentmill knows. Give its networks to "
            "latentmill.export_vae, with what they mean: encoder, decoder, scale, prior and likelihood."
        )
    own = [kind for kind in lineage[: lineage.index(ancestor)] if kind is not ancestor]
    changed = [method for method in _DECISIVE if any(method in vars(kind) for kind in own)]
    if changed:
        raise InvalidBundle(
            f"{type(model).__name__} has a {' and '.join(changed)} of its own, so that what {ancestor.__name__} says "
            "of the latents need not be true. Give its networks to latentmill.export_vae, with what they mean: "
            "encoder, decoder, scale, prior and likelihood."
        )
    config = {name: value for name, value in vars(model.model_config).items() if not name.startswith("__")}
    weights = dict(model.state_dict())
    latents = latents_of(ancestor.__name__)
    own_loss = any("loss_function" in vars(kind) for kind in own)
    encoder, decoder = model.encoder, model.decoder
    assert isinstance(encoder, nn.Module)
    assert isinstance(decoder, nn.Module)
    return Source(ancestor.__name__, latents, config, weights, encoder, decoder, own_loss)


def _shape(config: dict[str, Any]) -> tuple[int, ...]:
    shape = config.get("input_dim")
    if not isinstance(shape, list | tuple) or not shape or not all(type(size) is int and size > 0 for size in shape):
        raise InvalidBundle(f"input_dim of the model's configuration must be the shape of a row, not {shape!r}.")
    return tuple(shape)


def _latent_size(config: dict[str, Any]) -> int:
    size = config.get("latent_dim")
    if type(size) is not int or size < 1:
        raise InvalidBundle(f"latent_dim of the model's configuration must be a whole number above 0, not {size!r}.")
    return size
