"""The prior that a bundle declares, as a density."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from latentmill.specs import VaeManifest
from workers.posteriors.density import Density
from workers.posteriors.gaussian import DiagonalGaussian
from workers.posteriors.mixture import mixture_density


def standard_normal(latent_size: int) -> DiagonalGaussian:
    """N(0, I)."""
    return DiagonalGaussian(np.zeros(latent_size), np.ones(latent_size))


def declared_prior(manifest: VaeManifest, parameters: Mapping[str, NDArray[np.floating]]) -> Density | None:
    """The density to which `manifest` trained its latents; None where it declares that there is none."""
    if manifest.prior.kind == "standard_normal":
        return standard_normal(manifest.latent.size)
    if manifest.prior.kind == "mixture":
        return mixture_density(parameters)
    return None


def is_standard_normal(density: Density | None) -> bool:
    """Whether KL and inert dimensions can be had in closed form."""
    return isinstance(density, DiagonalGaussian) and not np.any(density.mean) and bool(np.all(density.std == 1.0))
