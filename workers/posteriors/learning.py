"""What every family learns from, and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmill.specs import Family, Flow, Gaussian, Mixture
from workers.posteriors.density import Density
from workers.posteriors.encoding import Encoding
from workers.posteriors.measurement import Measurement
from workers.posteriors.split import Split

PRIOR_WARNING = "Every latent dimension is inert: the fit is the prior."

Rows = NDArray[np.int64]
Parameters = dict[str, NDArray[Any]]
Progress = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class Material:
    """The rows of `split`, which are all of `encoding` or those of one label, and what was measured of them.

    active: the dimensions that a family learns, (A,); the others are inert and stay with the prior.
    """

    encoding: Encoding
    split: Split
    measured: Measurement
    active: Rows
    seed: int
    check: Callable[[], None]


@dataclass(frozen=True, eq=False)
class Learned:
    """A family with nothing left open; the parameters that are served and the density that is judged.

    Both are the same, but for families that serve the moments of all rows.
    """

    family: Family
    parameters: Parameters
    judged: Density
    rows_used: int
    shrinkage: float
    warnings: list[str]


def chooses(family: Family) -> bool:
    """Whether tune rows decide something, so that they cannot be learned from."""
    return isinstance(family, Flow) or (isinstance(family, Mixture) and family.components == "auto")


def learning_rows(family: Family, split: Split) -> Rows:
    """The rows that what is served learns from: all, or those that neither choose nor judge."""
    if isinstance(family, Gaussian):
        return np.concatenate([split.holdout, split.training])
    return split.fit if chooses(family) else split.training
