"""One pass over an encoding: the moments of both sides of the split, the rate of each dimension, what is inert."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from workers.posteriors.encoding import Encoding
from workers.posteriors.moments import Moments
from workers.posteriors.split import Split

ACTIVE_VARIANCE = 0.01  # Burda, Grosse and Salakhutdinov (2016): for comparison, never for a decision
INFORMATIVE_RATIO = 0.01
INERT_NATS = 0.02  # what leaving inert dimensions to the prior may cost per row, by convexity of KL

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Measurement:
    """What a pass finds. rate: r_j = mean_i KL(q(z_j|x_i) || N(0, 1)), (D,), infinite where a std is 0.

    training_rate: the same without the held-out rows, which decide nothing.
    """

    training: Moments
    holdout: Moments
    rate: Floats
    training_rate: Floats
    has_std: bool  # every std is above 0

    @cached_property
    def all_rows(self) -> Moments:
        """The moments of all N rows."""
        return self.training.merge(self.holdout)

    @property
    def active_units(self) -> int:
        return int((self.all_rows.mean_variance > ACTIVE_VARIANCE).sum())

    @property
    def informative_units(self) -> int:
        """Dimensions whose means vary against the noise around them, whatever the scale; without noise: that vary."""
        moments = self.all_rows
        return int((moments.mean_variance > INFORMATIVE_RATIO * moments.std_mean_square).sum())

    def inert_dimensions(self) -> NDArray[np.int64]:
        """Dimensions by ascending r_j while their sum stays within 0.02 nats, for the prior N(0, I); sorted."""
        order = np.argsort(self.training_rate, kind="stable")
        return np.sort(order[np.cumsum(self.training_rate[order]) <= INERT_NATS])


def measure(encoding: Encoding, split: Split, *, full: bool, check: Callable[[], None]) -> Measurement:
    """Read the rows of `split` once, in blocks; with `full`, covariances and not only variances."""
    rows = np.sort(np.concatenate([split.holdout, split.training]))
    held_out = np.zeros(encoding.rows, dtype=bool)
    held_out[split.holdout] = True
    training = holdout = Moments.none(encoding.latent_size, full=full)
    training_rate, holdout_rate = np.zeros((2, encoding.latent_size))
    smallest_std = np.inf
    for block in encoding.blocks_of(rows):
        check()
        mean = np.asarray(encoding.mean[block], dtype=np.float64)
        std = np.asarray(encoding.std[block], dtype=np.float64)
        smallest_std = min(smallest_std, float(std.min()))
        judged = held_out[block]
        training = training.merge(Moments.of(mean[~judged], std[~judged], full=full))
        training_rate += _block_rate(mean[~judged], std[~judged])
        holdout = holdout.merge(Moments.of(mean[judged], std[judged], full=full))
        holdout_rate += _block_rate(mean[judged], std[judged])
    return Measurement(
        training,
        holdout,
        rate=(training_rate + holdout_rate) / len(rows),
        training_rate=training_rate / max(training.rows, 1),
        has_std=smallest_std > 0,
    )


def _block_rate(mean: Floats, std: Floats) -> Floats:
    """Sum over rows of 1/2 (mu^2 + sigma^2 - ln sigma^2 - 1), (D,)."""
    with np.errstate(divide="ignore"):
        logarithm = np.log(std).sum(axis=0)
    squares = np.einsum("ij,ij->j", mean, mean) + np.einsum("ij,ij->j", std, std)
    result: Floats = 0.5 * (squares - len(mean)) - logarithm
    return result
