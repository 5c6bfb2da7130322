"""The registry: from the architecture that `vae.json` names to an encoder and a decoder without weights."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from latentmill.errors import InvalidBundle
from latentmill.specs import VaeManifest
from workers.models.architectures.autoencoder_kl import autoencoder_kl
from workers.models.architectures.conv import conv
from workers.models.architectures.installed import installed, installed_names
from workers.models.architectures.interface import Architecture
from workers.models.architectures.mlp import mlp
from workers.models.architectures.residual import residual
from workers.models.architectures.sequential.architecture import sequential
from workers.models.limits import BundleLimits

BUILT_IN: Mapping[str, Architecture] = {
    "sequential": sequential,
    "mlp": mlp,
    "conv": conv,
    "residual": residual,
    "autoencoder_kl": autoencoder_kl,
}
_LIBRARIES = {"autoencoder_kl": "diffusers"}


@dataclass(frozen=True)
class Networks:
    """Encoder and decoder: modules that take (x or z, y or None) and return a tuple of tensors, batch axis first."""

    encoder: nn.Module | None
    decoder: nn.Module


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


def library_of(manifest: VaeManifest) -> str | None:
    """The package that builds the networks, where it is not this one: decoded bytes depend on its version."""
    name = str((manifest.architecture or {}).get("name", ""))
    if name in BUILT_IN:
        return _LIBRARIES.get(name)
    found = installed(name)
    return None if found is None else found.package


def _find(name: str) -> Architecture:
    """What is built in first: a package cannot change what its bundles mean."""
    architecture = BUILT_IN.get(name) or installed(name)
    if architecture is None:
        known = ", ".join(sorted({*BUILT_IN, *installed_names()}))
        raise InvalidBundle(
            f"There is no architecture {name[:64]!r}; this service knows {known}.", pointer="/architecture/name"
        )
    return architecture
