"""The aggregate posterior itself: one normal for each of some rows, all of equal weight."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.posteriors.components import log_sums

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


class EmpiricalDensity:
    """1/K sum_k N(m_k, diag s_k^2). t widens the components; their means stay.

    means, stds: (K, D) float32, as they are stored: there may be millions, and a draw reads the chosen one alone.
    """

    needs_choice = True

    def __init__(self, means: Singles, stds: Singles) -> None:
        self.means, self.stds = means, stds

    @property
    def latent_size(self) -> int:
        return int(self.means.shape[1])

    @property
    def components(self) -> int:
        return len(self.means)

    def draw(self, normals: Floats, uniforms: Floats | None, temperature: float = 1.0) -> Floats:
        """Latents (n, D): component floor(u K), then mean + t * std * e."""
        if uniforms is None:
            raise ValueError("uniforms are needed to choose components")
        chosen = np.minimum((uniforms * self.components).astype(np.int64), self.components - 1)
        latents = self.stds[chosen].astype(np.float64)
        latents *= normals
        latents *= temperature
        latents += self.means[chosen]
        return latents

    def log_density(self, latents: Floats) -> Floats:
        """ln 1/K sum_k N(z; m_k, diag s_k^2), (n,), in float64. It costs n K D."""
        result: Floats = log_sums(latents, self.means, self.stds) - np.log(self.components)
        return result


def empirical_density(parameters: Mapping[str, NDArray[Any]]) -> EmpiricalDensity:
    """The density with these parameters: means (K, D), and stds (K, D) with the bandwidth in them."""
    means, stds = (np.asarray(parameters[name], dtype=np.float32) for name in ("means", "stds"))
    return EmpiricalDensity(means, stds)
