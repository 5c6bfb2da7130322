"""One model of pythae's, whether it was a folder or a live object: its class, configuration, networks and weights."""

from copy import deepcopy
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from torch import nn

from latentmill.converting.pythae.classes import Latents, latents_of
from latentmill.converting.pythae.folder import class_name, is_default, read_config, read_weights, refuse_pickled
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
    encoder: nn.Module | None
    decoder: nn.Module
    own_loss: bool = False

    @property
    def latent_size(self) -> int:
        """latent_dim, which says nothing of latents that keep axes."""
        return _latent_size(self.config)

    @property
    def row_shape(self) -> tuple[int, ...] | None:
        """input_dim; None where there is none, which networks of the user's own allow."""
        return None if self.config.get("input_dim") is None else _shape(self.config)


def open_folder(folder: Path, encoder: nn.Module | None, decoder: nn.Module | None, *, decoder_only: bool) -> Source:
    """The model that pythae saved in `folder`; networks of the user's own are given, and filled from it."""
    config = read_config(folder)
    name = class_name(config)
    latents = latents_of(name)
    known = {"encoder": encoder, "decoder": decoder}
    lacking = [part for part, given in known.items() if given is None and not is_default(folder, config, part)]
    if lacking and not (decoder_only and lacking == ["encoder"] and latents.prior != "mixture"):
        raise refuse_pickled(folder, lacking[0])
    weights = read_weights(folder)
    last = DefaultDecoder(_latent_size(config), _shape(config)) if decoder is None else deepcopy(decoder)
    last = filled(last, weights, "decoder")
    if lacking:
        return Source(name, latents, config, weights, None, last)
    first = _default_encoder(config, latents) if encoder is None else deepcopy(encoder)
    return Source(name, latents, config, weights, filled(first, weights, "encoder"), last)


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


def _default_encoder(config: dict[str, Any], latents: Latents) -> nn.Module:
    """Adversarial_AE has the second head also where its posterior is deterministic."""
    return DefaultEncoder(prod(_shape(config)), _latent_size(config), scale=latents.scale != "none")


def _shape(config: dict[str, Any]) -> tuple[int, ...]:
    shape = config.get("input_dim")
    if not isinstance(shape, list | tuple) or not shape or not all(_is_size(size) for size in shape):
        raise InvalidBundle(f"input_dim of the model's configuration must be the shape of a row, not {shape!r}.")
    return tuple(int(size) for size in shape)


def _latent_size(config: dict[str, Any]) -> int:
    size = config.get("latent_dim")
    if not _is_size(size):
        raise InvalidBundle(f"latent_dim of the model's configuration must be a whole number above 0, not {size!r}.")
    return int(size)


def _is_size(size: Any) -> TypeGuard[int]:
    """A live model's may be numpy's."""
    return isinstance(size, int | np.integer) and not isinstance(size, bool) and int(size) > 0
