"""Encodings whose aggregate posterior is known, and fits of them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from latentmill.specs import Family, FitRequest
from workers.posteriors import Density, Encoding, FittedPosterior, fit_posterior, standard_normal


def encoding_of(mean: np.ndarray, std: np.ndarray | float, seed: int = 0) -> Encoding:
    generator = np.random.default_rng(seed)
    return Encoding(
        mean=mean.astype(np.float32),
        std=np.broadcast_to(np.asarray(std, dtype=np.float32), mean.shape).copy(),
        labels=None,
        row_digests=generator.integers(0, 256, (len(mean), 16)).astype(np.uint8),
    )


def matched(rows: int, latent_size: int, *, noise: float = 0.05, seed: int = 0) -> Encoding:
    """q(z) = N(0, I) exactly, with posterior variance `noise`: an informative VAE that matches its prior."""
    means = np.sqrt(1 - noise) * np.random.default_rng(seed).standard_normal((rows, latent_size))
    return encoding_of(means, np.sqrt(noise), seed)


def shifted(rows: int, seed: int = 0) -> tuple[Encoding, np.ndarray, np.ndarray]:
    """q(z) = N(m, S) in 4 dimensions with correlations; also m and S."""
    generator = np.random.default_rng(seed)
    root = np.array([[0.8, 0, 0, 0], [0.5, 0.6, 0, 0], [-0.3, 0.2, 0.9, 0], [0, 0, 0.4, 0.3]])
    centre = np.array([0.5, -0.3, 0.0, 0.2])
    means = centre + generator.standard_normal((rows, 4)) @ root.T
    return encoding_of(means, 0.3, seed), centre, root @ root.T + 0.09 * np.eye(4)


def fitted(
    encoding: Encoding,
    family: Family,
    *,
    prior: Density | str | None = "standard normal",
    conditional: bool = False,
    check: Callable[[], None] = lambda: None,
    progress: Callable[[float], None] = lambda _: None,
    **options: Any,
) -> FittedPosterior:
    request = FitRequest(model="m", dataset="d", family=family, **options)
    chosen = standard_normal(encoding.latent_size) if isinstance(prior, str) else prior
    return fit_posterior(encoding, request, chosen, conditional=conditional, progress=progress, check=check)
