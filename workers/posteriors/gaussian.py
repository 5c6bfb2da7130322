"""N(m, S): as a density, and as a fit with the exact moments of the aggregate posterior."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from threadpoolctl import threadpool_limits

from latentmill.errors import DataError, LimitExceeded
from latentmill.specs.families import Covariance
from workers.posteriors.moments import Moments

Floats = NDArray[np.float64]

MAX_FULL_SIZE = 4096  # a larger covariance takes more than 128 MiB and minutes to factor
MIN_EIGENVALUE = 1e-10  # of the correlations: below it S is singular to float64's eye
LOG_2PI = float(np.log(2 * np.pi))


class FullGaussian:
    """N(mean, covariance); draws m + t L e with S = L L', so t means density^(1 / t^2), renormalised."""

    needs_choice = False

    def __init__(self, mean: Floats, covariance: Floats) -> None:
        self.mean = mean
        self.factor = cholesky(covariance)

    @property
    def latent_size(self) -> int:
        return len(self.mean)

    def draw(self, normals: Floats, uniforms: Floats | None, temperature: float = 1.0) -> Floats:
        """Latents (n, D) from normals (n, D)."""
        return self.mean + temperature * (normals @ self.factor.T)

    def log_density(self, latents: Floats) -> Floats:
        """ln N(z; m, S), (n,)."""
        whitened = solve_triangular(self.factor, (latents - self.mean).T, lower=True)
        log_determinant = 2.0 * np.log(np.diagonal(self.factor)).sum()
        log_norm = -0.5 * (log_determinant + self.latent_size * LOG_2PI)
        result: Floats = log_norm - 0.5 * np.einsum("ji,ji->i", whitened, whitened)
        return result


class DiagonalGaussian:
    """N(mean, diag variance); the standard normal is the one with mean 0 and variance 1."""

    needs_choice = False

    def __init__(self, mean: Floats, variance: Floats) -> None:
        self.mean, self.std = mean, np.sqrt(variance)

    @property
    def latent_size(self) -> int:
        return len(self.mean)

    def draw(self, normals: Floats, uniforms: Floats | None, temperature: float = 1.0) -> Floats:
        """Latents (n, D) from normals (n, D)."""
        return self.mean + (temperature * self.std) * normals

    def log_density(self, latents: Floats) -> Floats:
        """ln N(z; m, diag s^2), (n,)."""
        whitened = (latents - self.mean) / self.std
        log_norm = -np.log(self.std).sum() - 0.5 * self.latent_size * LOG_2PI
        result: Floats = log_norm - 0.5 * np.einsum("ij,ij->i", whitened, whitened)
        return result


def cholesky(covariance: Floats) -> Floats:
    """L of S = L L', (..., D, D), by one BLAS thread: with more it has other bits, and so has every row drawn by it."""
    with threadpool_limits(1, "blas"):
        return np.linalg.cholesky(covariance).astype(np.float64, copy=False)


def gaussian_density(parameters: Mapping[str, NDArray[Any]]) -> FullGaussian | DiagonalGaussian:
    """The density with these parameters: mean (D,), and covariance (D, D) or variance (D,)."""
    exact = {name: np.asarray(array, dtype=np.float64) for name, array in parameters.items()}
    if "covariance" in exact:
        return FullGaussian(exact["mean"], exact["covariance"])
    return DiagonalGaussian(exact["mean"], exact["variance"])


def gaussian_parameters(moments: Moments, covariance: Covariance, shrinkage: float) -> dict[str, Floats]:
    """m and S, or m and its diagonal, where they make a density; DataError says why they do not."""
    refuse_constant(moments)
    if covariance == "diagonal":
        return {"mean": moments.mean, "variance": moments.variance}
    full = moments.covariance(shrinkage)
    if smallest_correlation_eigenvalue(full) < MIN_EIGENVALUE:
        raise DataError(
            f"The covariance of {len(moments.mean)} latent values over {moments.rows:,} rows is singular; "
            'take the family with "covariance": "diagonal".',
            pointer="/family/covariance",
        )
    return {"mean": moments.mean, "covariance": full}


def smallest_correlation_eigenvalue(covariance: Floats) -> float:
    """The smallest eigenvalue of the correlations in S: how near S is to singular, whatever the scales."""
    scale = 1.0 / np.sqrt(np.diagonal(covariance))
    return float(np.linalg.eigvalsh(covariance * np.outer(scale, scale))[0])


def refuse_constant(moments: Moments) -> None:
    """A dimension in which every row has the same value and no std has no density."""
    constant = np.flatnonzero(~(moments.variance > 0))
    if constant.size:
        named = ", ".join(map(str, constant[:10])) + (", ..." if constant.size > 10 else "")
        raise DataError(
            f"{constant.size} of {len(moments.mean)} latent dimensions are the same for every row and have no std "
            f"({named}), so there is no density over them. Leave them out of the model's latents, or use the strategy "
            "posterior."
        )


def refuse_too_wide(latent_size: int) -> None:
    """Full covariances only where one fits into memory."""
    if latent_size > MAX_FULL_SIZE:
        raise LimitExceeded(
            f"A full covariance takes at most {MAX_FULL_SIZE:,} latent values, not {latent_size:,}; "
            'take the family with "covariance": "diagonal".',
            pointer="/family/covariance",
        )


def gaussian_kl(mean: Floats, covariance: Floats, prior: FullGaussian | DiagonalGaussian) -> float:
    """KL(N(m, S) || N(m_p, S_p)), in nats; of estimated m and S it is too large by about D (D + 3) / (4 N).

    1/2 (tr T + d'd - D - ln det T), with d = L^-1 (m - m_p), T = L^-1 S L^-T and S_p = L L'.
    """
    step, scatter = mean - prior.mean, covariance
    if isinstance(prior, FullGaussian):
        step = solve_triangular(prior.factor, step, lower=True)
        scatter = solve_triangular(prior.factor, scatter, lower=True)
        scatter = solve_triangular(prior.factor, scatter.T, lower=True)
    else:
        step, scatter = step / prior.std, scatter / np.outer(prior.std, prior.std)
    log_determinant = np.linalg.slogdet(scatter)[1]
    return float(0.5 * (np.trace(scatter) + step @ step - len(step) - log_determinant))
