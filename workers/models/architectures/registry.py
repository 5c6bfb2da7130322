"""The registry: from the architecture that `vae.json` names to an encoder and a decoder without weights."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from torch import nn

from latentmill.errors import InvalidBundle
from latentmill.specs import VaeManifest
from workers.models.architectures.autoencoder_kl import autoencoder_kl
from workers.models.architectures.conv import conv
from workers.models.architectures.mlp import mlp
from workers.models.architectures.residual import residual
from workers.models.architectures.sequential.architecture import sequential
from workers.models.limits import BundleLimits

ENTRY_POINTS = "latentmill.architectures"


@dataclass(frozen=True)
class Networks:
    """Encoder and decoder: modules that take (x or z, y or None) and return a tuple of tensors, batch axis first."""

    encoder: nn.Module | None
    decoder: nn.Module


Architecture = Callable[[dict[str, Any], VaeManifest, BundleLimits], tuple[nn.Module | None, nn.Module]]
"""(numbers, manifest, limits) -> (encoder, decoder), made on the meta device; raises InvalidBundle for bad numbers.

An operator adds one through the entry-point group `latentmill.architectures`: name = "package.module:function".
"""

_BUILT_IN: dict[str, Architecture] = {
    "sequential": sequential,
    "mlp": mlp,
    "conv": conv,
    "residual": residual,
    "autoencoder_kl": autoencoder_kl,
}


def build(manifest: VaeManifest, limits: BundleLimits) -> Networks:
    """The networks of `manifest.architecture`, on the meta device: nothing is allocated for what only claims a size."""
    numbers = dict(manifest.architecture or {})
    architecture = _find(str(numbers.pop("name", "")))
    encoder, decoder = architecture(numbers, manifest, limits)
    if (encoder is None) != (manifest.encoder is None):
        raise InvalidBundle(
            "The field encoder and the architecture's encoder go together: leave out both for a decoder alone.",
            pointer="/encoder",
        )
    return Networks(encoder, decoder)


def _find(name: str) -> Architecture:
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    installed = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name not in installed:
        known = ", ".join(sorted({*_BUILT_IN, *installed}))
        raise InvalidBundle(
            f"There is no architecture {name[:64]!r}; this service knows {known}.", pointer="/architecture/name"
        )
    architecture: Architecture = installed[name].load()
    return architecture
