"""A mixture of Gaussians over all D dimensions: drawn and scored by our own code, whoever fitted it."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from workers.posteriors.gaussian import LOG_2PI, cholesky

Floats = NDArray[np.float64]

CHUNK_VALUES = 2**21  # rows x max(D, K) that scoring holds at once


class GaussianMixture:
    """sum_k w_k N(m_k, S_k), S_k (D, D) or its diagonal (D,). t widens the components; weights and means stay."""

    needs_choice = True

    def __init__(self, weights: Floats, means: Floats, spread: Floats) -> None:
        self.weights, self.means = weights / weights.sum(), means
        self.full = spread.ndim == 3
        self.factors = cholesky(spread) if self.full else np.sqrt(spread)
        diagonals = np.diagonal(self.factors, axis1=1, axis2=2) if self.full else self.factors
        with np.errstate(divide="ignore"):  # a component of weight 0 adds nothing
            log_weights = np.log(self.weights)
        self.log_scales: Floats = log_weights - np.log(diagonals).sum(axis=1) - 0.5 * self.latent_size * LOG_2PI
        self.borders = np.cumsum(self.weights)
        self.borders[-1] = 1.0  # the sum may round below a uniform

    @property
    def latent_size(self) -> int:
        return int(self.means.shape[1])

    def draw(self, normals: Floats, uniforms: Floats | None, temperature: float = 1.0) -> Floats:
        """Latents (n, D): the uniform chooses the component, the normals the place in it."""
        if uniforms is None:
            raise ValueError("a mixture needs uniforms to choose components")
        chosen = np.searchsorted(self.borders, uniforms, side="right")
        if not self.full:
            return self.means[chosen] + temperature * self.factors[chosen] * normals
        latents = np.empty_like(normals)
        for component in np.unique(chosen):
            rows = np.flatnonzero(chosen == component)
            latents[rows] = self.means[component] + temperature * (normals[rows] @ self.factors[component].T)
        return latents

    def log_density(self, latents: Floats) -> Floats:
        """ln sum_k w_k N(z; m_k, S_k), (n,)."""
        step = max(1, CHUNK_VALUES // max(self.latent_size, len(self.weights)))
        parts = [self._chunk_log_density(latents[first : first + step]) for first in range(0, len(latents), step)]
        return np.concatenate(parts) if parts else np.empty(0)

    def _chunk_log_density(self, latents: Floats) -> Floats:
        exponents = np.empty((len(latents), len(self.weights)))
        for component, whitened in enumerate(self._whitened(latents)):
            exponents[:, component] = -0.5 * np.einsum("ij,ij->i", whitened, whitened)
        result: Floats = logsumexp(exponents + self.log_scales, axis=1)
        return result

    def _whitened(self, latents: Floats) -> Iterator[Floats]:
        for mean, factor in zip(self.means, self.factors, strict=True):
            centred = latents - mean
            yield solve_triangular(factor, centred.T, lower=True).T if self.full else centred / factor


def mixture_density(parameters: Mapping[str, NDArray[Any]]) -> GaussianMixture:
    """The density with these parameters: weights (K,), means (K, D), and covariances (K, D, D) or variances (K, D)."""
    exact = {name: np.asarray(array, dtype=np.float64) for name, array in parameters.items()}
    spread = exact["covariances"] if "covariances" in exact else exact["variances"]
    return GaussianMixture(exact["weights"], exact["means"], spread)
