"""What a fit and a declared prior have in common: a density over all D dimensions that maps noise to latents."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Density(Protocol):
    """A normalised density of latents. `draw` is a deterministic map of noise."""

    @property
    def latent_size(self) -> int:
        """D, the flattened size of a latent."""

    @property
    def needs_choice(self) -> bool:
        """Whether `draw` needs a uniform for each row besides its normals."""

    def draw(self, normals: Floats, uniforms: Floats | None, temperature: float = 1.0) -> Floats:
        """Latents (n, D) from standard normals (n, D) and, where a choice is made, uniforms (n,)."""

    def log_density(self, latents: Floats) -> Floats:
        """ln f(z), (n,), for latents (n, D)."""
