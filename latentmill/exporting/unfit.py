"""VAEs that no bundle can be made of, known by the names of their layers and by what they return."""

import re

from torch import Tensor, nn
from torch.distributions import Distribution

from latentmill.errors import InvalidBundle
from workers.models.unfit import QUANTISED, SPHERICAL

_QUANTISER = re.compile(r"quanti[sz]e|codebook|^(residual|grouped|ema)?vq|^(fsq|lfq)$", re.IGNORECASE)
_SPHERICAL = re.compile(r"mises|spherical", re.IGNORECASE)


def refuse_quantiser(module: nn.Module, part: str) -> None:
    """Raises InvalidBundle where a layer of the module, by its class, takes the nearest entry of a codebook."""
    for path, layer in module.named_modules():
        kind = type(layer)
        if _QUANTISER.search(kind.__name__) and not kind.__module__.startswith("torch."):
            where = f"has {path!r}, a {kind.__name__}" if path else f"is a {kind.__name__}"
            raise InvalidBundle(f"The {part} {where}: it is of a VQ-VAE. {QUANTISED}")


def refuse_codes(output: Tensor) -> None:
    """Raises InvalidBundle where the encoder returns whole numbers."""
    if not output.is_floating_point():
        kind = str(output.dtype).removeprefix("torch.")
        raise InvalidBundle(f"The encoder returns whole numbers ({kind}), as the codes of a VQ-VAE. {QUANTISED}")


def refuse_spherical(returned: Distribution, part: str) -> None:
    """Raises InvalidBundle for a distribution on the sphere."""
    kind = type(returned).__name__
    if _SPHERICAL.search(kind):
        raise InvalidBundle(f"The {part} returns a {kind}: it is of a hyperspherical VAE. {SPHERICAL}")
