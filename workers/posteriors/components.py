"""ln of a sum of normals, one per row of an encoding: the aggregate posterior as a density, in bounded memory."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from workers.posteriors.gaussian import LOG_2PI

Floats = NDArray[np.float64]
Ranges = NDArray[np.int64]

CHUNK_VALUES = 2**18  # latents x components that are scored at once: 2 MiB, which stays in the cache
COMPONENTS_AT_ONCE = 1024
MAX_ROUNDING = 1e-5  # nats: components for which expanded squares might lose more are scored without expanding


def log_sums(
    latents: Floats,
    mean: NDArray[np.floating],
    std: NDArray[np.floating],
    *,
    bandwidth: float = 1.0,
    check: Callable[[], None] = lambda: None,
) -> Floats:
    """ln sum_i N(z; mu_i, b^2 diag sigma_i^2), (m,), for latents (m, D) and components mean, std (n, D), stds above 0.

    In float64, whatever the arrays are; they may be memory maps, of which blocks are read.
    """
    none = np.zeros((len(latents), 2), dtype=np.int64)
    return log_sums_apart(latents, mean, std, none, bandwidth=bandwidth, check=check)[0]


def log_sums_apart(
    latents: Floats,
    mean: NDArray[np.floating],
    std: NDArray[np.floating],
    own: Ranges,
    *,
    bandwidth: float = 1.0,
    check: Callable[[], None] = lambda: None,
) -> tuple[Floats, Floats]:
    """The ln of the sum without, and of the sum over, the components own[m, 0] to own[m, 1] of latent m: two (m,).

    The sum over no component is 0 and its ln -inf. O(m n D), as a matrix product: -1/2 (z - mu)^2 / s^2 is
    -1/2 z^2 / s^2 + z mu / s^2 - 1/2 mu^2 / s^2, about a common centre. Where s is so small beside z and mu that this
    could cancel by more than 1e-5 nats, the squares are taken as they stand.
    """
    size = latents.shape[1]
    step = max(1, min(COMPONENTS_AT_ONCE, CHUNK_VALUES // size))
    rows = max(1, CHUNK_VALUES // step)
    rest, apart = np.full((2, len(latents)), -np.inf)
    centre = np.asarray(mean[: max(1, step)], dtype=np.float64).mean(axis=0)
    centred = latents - centre
    reach = np.abs(centred).max(axis=0, initial=0.0)
    for first in range(0, len(mean), step):
        check()
        block = _Block(mean[first : first + step], std[first : first + step], centre, bandwidth, reach)
        for start in range(0, len(latents), rows):
            part = slice(start, start + rows)
            exponents = block.log_densities(centred[part])
            _take_apart(exponents, own[part] - first, apart[part])
            _add(exponents, rest[part])
    return rest, apart


class _Block:
    """Some components, about `centre`, ready to be scored against latents at most `reach` (D,) from it."""

    def __init__(
        self,
        mean: NDArray[np.floating],
        std: NDArray[np.floating],
        centre: Floats,
        bandwidth: float,
        reach: Floats,
    ) -> None:
        self.mean = np.asarray(mean, dtype=np.float64) - centre
        self.std = bandwidth * np.asarray(std, dtype=np.float64)
        self.log_scale: Floats = -np.log(self.std).sum(axis=1) - 0.5 * self.mean.shape[1] * LOG_2PI
        with np.errstate(over="ignore", divide="ignore"):
            precision = 1.0 / (self.std * self.std)
            rounding = np.finfo(np.float64).eps * (precision * (reach + np.abs(self.mean)) ** 2).sum(axis=1) / 2
        self.narrow = np.flatnonzero(~(rounding <= MAX_ROUNDING))
        precision[self.narrow] = 0.0
        weighted = precision * self.mean
        self.products = np.concatenate([-0.5 * precision, weighted], axis=1).T
        self.constant: Floats = self.log_scale - 0.5 * (weighted * self.mean).sum(axis=1)

    def log_densities(self, latents: Floats) -> Floats:
        """ln N(z; mu_i, diag sigma_i^2), (m, n)."""
        exponents: Floats = np.concatenate([latents * latents, latents], axis=1) @ self.products
        exponents += self.constant
        if self.narrow.size:
            exponents[:, self.narrow] = self._unexpanded(latents)
        return exponents

    def _unexpanded(self, latents: Floats) -> Floats:
        squares, whitened = np.zeros((2, len(latents), len(self.narrow)))
        for column, mean, std in zip(latents.T, self.mean[self.narrow].T, self.std[self.narrow].T, strict=True):
            np.subtract(column[:, None], mean, out=whitened)
            whitened *= 1.0 / std
            whitened *= whitened
            squares += whitened
        squares *= -0.5
        squares += self.log_scale[self.narrow]
        return squares


def _take_apart(exponents: Floats, own: Ranges, apart: Floats) -> None:
    """Move what lies in the ranges `own` (m, 2) out of `exponents` (m, n) into `apart` (m,)."""
    width = exponents.shape[1]
    for row in np.flatnonzero((own[:, 0] < width) & (own[:, 1] > 0) & (own[:, 0] < own[:, 1])):
        mine = exponents[row, max(0, own[row, 0]) : own[row, 1]]
        apart[row] = np.logaddexp(apart[row], np.logaddexp.reduce(mine))
        mine[:] = -np.inf


def _add(exponents: Floats, sums: Floats) -> None:
    """ln sums (m,) of what was there and of `exponents` (m, n), which is used up."""
    largest = np.maximum(exponents.max(axis=1), sums)
    finite = np.where(np.isneginf(largest), 0.0, largest)
    exponents -= finite[:, None]
    np.exp(exponents, out=exponents)
    with np.errstate(divide="ignore"):
        sums[:] = finite + np.log(np.exp(sums - finite) + exponents.sum(axis=1))
