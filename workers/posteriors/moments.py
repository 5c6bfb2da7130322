"""Exact moments of an aggregate posterior, in float64, block by block and mergeable."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over n rows with posteriors N(mu_i, diag sigma_i^2).

    mean: mean of mu, (D,); noise: sum of sigma^2, (D,); scatter: sum (mu - mean)(mu - mean)', (D, D), or its
    diagonal, (D,).
    """

    rows: int
    mean: Floats
    scatter: Floats
    noise: Floats

    @staticmethod
    def none(latent_size: int, *, full: bool) -> "Moments":
        """Moments of no rows, to which others are merged."""
        shape = (latent_size, latent_size) if full else (latent_size,)
        return Moments(0, np.zeros(latent_size), np.zeros(shape), np.zeros(latent_size))

    @staticmethod
    def of(mean: NDArray[np.floating], std: NDArray[np.floating], *, full: bool) -> "Moments":
        """Moments of one block of rows; mean and std: (n, D)."""
        mu, sigma = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
        if len(mu) == 0:
            return Moments.none(mu.shape[1], full=full)
        centre = mu.mean(axis=0)
        centred = mu - centre
        scatter = centred.T @ centred if full else np.einsum("ij,ij->j", centred, centred)
        return Moments(len(mu), centre, scatter, np.einsum("ij,ij->j", sigma, sigma))

    def merge(self, other: "Moments") -> "Moments":
        """Moments of both sets of rows together (Chan, Golub and LeVeque, 1983)."""
        if self.rows == 0 or other.rows == 0:
            return other if self.rows == 0 else self
        rows = self.rows + other.rows
        step = other.mean - self.mean
        weight = self.rows * other.rows / rows
        between = np.outer(step, step) if self.scatter.ndim == 2 else step * step
        return Moments(
            rows,
            self.mean + step * (other.rows / rows),
            self.scatter + other.scatter + between * weight,
            self.noise + other.noise,
        )

    @property
    def full(self) -> bool:
        return self.scatter.ndim == 2

    @property
    def mean_variance(self) -> Floats:
        """C_jj, the variance of the posterior means, (D,)."""
        return (np.diagonal(self.scatter) if self.full else self.scatter) / self.rows

    @property
    def std_mean_square(self) -> Floats:
        """v_j, the mean of the posterior variances, (D,)."""
        return self.noise / self.rows

    @property
    def variance(self) -> Floats:
        """S_jj = C_jj + v_j by the law of total variance, (D,)."""
        return self.mean_variance + self.std_mean_square

    def covariance(self, shrinkage: float = 0.0) -> Floats:
        """S = (1 - l) C + l diag C + diag v, (D, D), by the law of total covariance."""
        covariance = self.scatter * ((1.0 - shrinkage) / self.rows)
        covariance = (covariance + covariance.T) / 2
        np.fill_diagonal(covariance, self.variance)
        return covariance
