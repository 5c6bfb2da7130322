"""The truth that no advice saw: how far the rows of each candidate lie from decoded posteriors of untouched digits."""

import numpy as np
from numpy.typing import NDArray

from benchmarks.strategies.cell import Model, encoded
from benchmarks.strategies.mnist import Digits
from workers.diagnostics.features import PrincipalFeatures, principal_features
from workers.posteriors.density import Density

FEATURE_ROWS = 20_000
BLOCK_ROWS = 500
FIRST_SEED = 7_000_001  # no fit and no report draws with it

Floats = NDArray[np.float64]


def yardstick(training: Digits) -> PrincipalFeatures:
    """One space for all models: 64 principal components of real training digits, by one common scale."""
    return principal_features(training.images[:FEATURE_ROWS], FEATURE_ROWS)


class Judge:
    """Judges rows of one model, twice: each half of the test digits is the reference once, the other gives floors."""

    def __init__(self, model: Model, test: Digits, features: PrincipalFeatures) -> None:
        self.model, self.features = model, features
        self.halves = np.split(np.arange(len(test)), 2)
        self.real = [features(test.images[half]) for half in self.halves]
        self.encoding = encoded(model, test)
        self.references = [Reference(self._reconstructions(number, FIRST_SEED)) for number in (0, 1)]

    def of_model(self) -> dict[str, list[float]]:
        """Distances to the reference of the prior's rows, of reconstructions of other digits, and of those digits."""
        others = [self._reconstructions(1 - number, FIRST_SEED + 1) for number in (0, 1)]
        return {
            "prior": self.distances(None),
            "reconstructions": [self.references[number].distance(others[number]) for number in (0, 1)],
            "real": [self.references[number].distance(self.real[1 - number]) for number in (0, 1)],
        }

    def distances(self, density: Density | None) -> list[float]:
        """Distances to the reference of as many rows of a fit, or without one of the prior, from the same noise."""
        rows = len(self.halves[0])
        return [
            self.references[number].distance(self.features(self.model.drawn(density, rows, FIRST_SEED + number)))
            for number in (0, 1)
        ]

    def _reconstructions(self, number: int, seed: int) -> Floats:
        return self.features(self.model.reconstructed(self.encoding, self.halves[number], seed))


class Reference:
    """Features (n, d) that others are compared with. Unbiased MMD^2, k = (x'y / d + 1)^3 (Binkowski and others, 2018).

    Written anew and not taken from the workers: their function is on trial here too.
    """

    def __init__(self, features: Floats) -> None:
        self._features, self._within = features, _mean_kernel_within(features)

    def distance(self, features: Floats) -> float:
        """The squared distance; its mean is 0 for equal laws, so it may be below 0."""
        between = _kernel_sum(features, self._features) / (len(features) * len(self._features))
        return _mean_kernel_within(features) + self._within - 2.0 * between


def _mean_kernel_within(x: Floats) -> float:
    """Mean over pairs of different rows."""
    own = (np.einsum("ij,ij->i", x, x) / x.shape[1] + 1.0) ** 3
    return (_kernel_sum(x, x) - float(own.sum())) / (len(x) * (len(x) - 1))


def _kernel_sum(x: Floats, y: Floats) -> float:
    """The sum of k over all pairs. Kernels in float32, at half the time, are off by 1e-6 of it; sums are float64."""
    scaled, transposed = (x / x.shape[1]).astype(np.float32), y.T.astype(np.float32)
    total = 0.0
    for first in range(0, len(x), BLOCK_ROWS):
        inner = scaled[first : first + BLOCK_ROWS] @ transposed
        inner += 1.0
        total += float((inner * inner * inner).sum(dtype=np.float64))
    return total
