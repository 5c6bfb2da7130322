"""Expectation maximisation on standardised draws, by scikit-learn, from a start that our own noise decides."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import DataError
from latentmill.specs.families import Covariance
from workers.randomness.noise import uniforms
from workers.randomness.streams import Stream

REG_COVAR = 1e-6  # absolute, which is why draws are standardised first
START_DRAWS = 20_000
TRIALS = 4  # candidates of each greedy k-means++ step
LLOYD_STEPS = 10
STEP_ITERATIONS = 20  # EM iterations between two looks at whether to stop
MAX_ITERATIONS = 200
TOLERANCE = 1e-3  # nats per row and iteration

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Components:
    """weights (K,), means (K, A), spread (K, A, A) or (K, A), of standardised draws; whether EM came to rest."""

    weights: Floats
    means: Floats
    spread: Floats
    converged: bool


def first_centres(draws: Floats, count: int, *, seed: int) -> Floats:
    """`count` centres by greedy k-means++ (Arthur and Vassilvitskii, 2007); the first k of them serve k components."""
    points = draws[:: max(1, len(draws) // START_DRAWS)]
    noise = uniforms(seed, Stream.INITIALISATION, 0, count * TRIALS).reshape(count, TRIALS)
    centres = np.empty((count, draws.shape[1]))
    nearest = np.ones(len(points))  # the first centre is chosen uniformly
    for number, step in enumerate(noise):
        cumulated = np.cumsum(nearest)
        places = np.searchsorted(cumulated, step * cumulated[-1], side="right").clip(max=len(points) - 1)
        distances = _square_distances(points, points[places])
        closer = distances if number == 0 else np.minimum(nearest[:, None], distances)
        best = int(np.argmin(closer.sum(axis=0)))
        centres[number], nearest = points[places[best]], closer[:, best]
    return centres


def fit_components(draws: Floats, centres: Floats, covariance: Covariance, *, check: Callable[[], None]) -> Components:
    """EM for len(centres) components on `draws` (n, A), started at `centres` after a few Lloyd steps.

    It comes to rest on a part of the draws first: most iterations are far from rest, and there they cost less.
    """
    part = draws[:: max(1, len(draws) // START_DRAWS)]
    found = _iterate(part, _start(part, centres, covariance), check)
    if len(part) == len(draws):
        return found
    return _iterate(draws, found, check)


def _iterate(draws: Floats, start: Components, check: Callable[[], None]) -> Components:
    """EM from `start` until an iteration adds less than the tolerance."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(
        len(start.weights),
        covariance_type="full" if start.spread.ndim == 3 else "diag",
        tol=TOLERANCE,
        reg_covar=REG_COVAR,
        max_iter=STEP_ITERATIONS,
        warm_start=True,
        weights_init=start.weights,
        means_init=start.means,
        precisions_init=_inverse(start.spread),
        random_state=0,  # all parameters are given, nothing is drawn
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told in the fit's own warnings
        for _ in range(0, MAX_ITERATIONS, STEP_ITERATIONS):
            check()
            try:
                model.fit(draws)
            except (ValueError, np.linalg.LinAlgError) as error:
                raise DataError(
                    f"Expectation maximisation with {len(start.weights)} components failed; take fewer components, or "
                    f'"covariance": "diagonal". ({error})',
                    pointer="/family/components",
                ) from error
            if model.converged_:
                break
    return Components(model.weights_, model.means_, model.covariances_, bool(model.converged_))


def _start(points: Floats, centres: Floats, covariance: Covariance) -> Components:
    """Weights, means and spread of the clusters around `centres`; small clusters lean on what all have in common."""
    count, size = centres.shape
    for _ in range(LLOYD_STEPS):
        member = np.argmin(_square_distances(points, centres), axis=1)
        sizes = np.bincount(member, minlength=count)
        sums = (member == np.arange(count)[:, None]).astype(np.float64) @ points
        centres = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres)
    residual = points - centres[member]

    def products(of: Floats) -> Floats:
        """Sums of products, (A, A), or of squares alone, (A,): the others are not asked for, and may not fit."""
        return of.T @ of if covariance == "full" else np.einsum("ij,ij->j", of, of)

    regular = REG_COVAR * (np.eye(size) if covariance == "full" else np.ones(size))
    common = products(residual) / len(points) + regular
    parts = [residual[member == component] for component in range(count)]
    spread = np.stack([(products(mine) + (size + 1) * common) / (len(mine) + size + 1) for mine in parts])
    weights = (sizes + 1) / (len(points) + count)
    return Components(weights, centres, spread, converged=False)


def _inverse(spread: Floats) -> Floats:
    if spread.ndim == 2:
        return 1.0 / spread
    inverse = np.linalg.inv(spread)
    symmetric: Floats = (inverse + np.swapaxes(inverse, 1, 2)) / 2
    return symmetric


def _square_distances(points: Floats, centres: Floats) -> Floats:
    """(n, K); never below 0, though rounding would have it."""
    squares: Floats = np.einsum("ij,ij->i", points, points)[:, None] - 2.0 * (points @ centres.T)
    squares += np.einsum("ij,ij->i", centres, centres)
    np.maximum(squares, 0.0, out=squares)
    return squares
