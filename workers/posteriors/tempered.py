"""The density of what a density draws at a temperature."""

from copy import copy

import numpy as np

from workers.posteriors.density import Density
from workers.posteriors.empirical import EmpiricalDensity
from workers.posteriors.flow import FlowDensity
from workers.posteriors.gaussian import DiagonalGaussian, FullGaussian
from workers.posteriors.labelled import LabelledDensity
from workers.posteriors.mixture import GaussianMixture


def tempered(density: Density, temperature: float) -> Density:
    """f_t, of which `density.draw(normals, uniforms, t)` is a draw: in every family t > 0 scales the normals alone.

    So stds are multiplied by t inside each component, the base of a flow too; weights and means stay.
    """
    if temperature == 1.0:
        return density
    if not temperature > 0:
        raise ValueError(f"the temperature must be above 0, not {temperature}")
    match density:
        case LabelledDensity():
            parts = [tempered(part, temperature) for part in density.parts]
            return LabelledDensity(density.classes, density.weights, parts)
        case EmpiricalDensity():
            return EmpiricalDensity(density.means, density.stds * np.float32(temperature))
        case FlowDensity():
            return FlowDensity(
                density.active, density.centre, density.scale, density.couplings, temperature * density.base_std
            )
        case DiagonalGaussian():
            return DiagonalGaussian(density.mean, (temperature * density.std) ** 2)
        case FullGaussian():
            wider = copy(density)
            wider.factor = temperature * density.factor
            return wider
        case GaussianMixture():
            return _mixture(density, temperature)
        case _:
            raise TypeError(f"no temperature is known for {type(density).__name__}")


def _mixture(density: GaussianMixture, temperature: float) -> GaussianMixture:
    wider = copy(density)
    wider.factors = temperature * density.factors
    wider.log_scales = density.log_scales - density.latent_size * np.log(temperature)
    return wider
