"""What a fit tells of itself and of its encoding, as JSON, in nats."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.posteriors.density import Density
from workers.posteriors.encoding import Encoding
from workers.posteriors.gain import paired_gain
from workers.posteriors.marginal_kl import HeldOut
from workers.posteriors.measurement import Measurement
from workers.posteriors.mismatch import mismatch_of
from workers.posteriors.split import Split

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Judgement:
    """Held-out log densities (n,) of the fit and of what it is compared with, and the groups of those rows."""

    scores: Floats
    baseline_scores: Floats
    groups: NDArray[np.int64]
    held_out: HeldOut  # all that was scored on all held-out rows, NaN where not
    unlabelled_scores: Floats | None = None  # of f(z) where `scores` are of f(z|y)

    def as_json(self) -> dict[str, Any]:
        """Both negative log densities, whose difference is the gain; and the gain of f(z|y) over f(z)."""
        told = {} if self.unlabelled_scores is None else {"label_information": self._over(self.unlabelled_scores)}
        return {
            "prior_holdout_nll": -float(self.baseline_scores.mean()),
            "holdout_nll": -float(self.scores.mean()),
            "gain": self._over(self.baseline_scores),
            **told,
        }

    def _over(self, scores: Floats) -> dict[str, float | None]:
        return paired_gain(self.scores, scores, self.groups).as_json()


def diagnostics_of(
    encoding: Encoding,
    split: Split,
    measured: Measurement,
    judgement: Judgement | None,
    prior: Density | None,
    *,
    conditional: bool,
    rows_used: int,
    shrinkage: float,
    seed: int,
    check: Callable[[], None],
) -> dict[str, Any]:
    """The diagnostics of a fit: what it gains, and how far the aggregate posterior lies from the prior."""
    held_out = {"prior_holdout_nll": None, "holdout_nll": None, "gain": None}
    return {
        "rows": encoding.rows,
        "rows_used": rows_used,
        "holdout_rows": len(split.holdout),
        **(held_out if judgement is None else judgement.as_json()),
        "gain_over": "prior" if prior is not None else "gaussian diagonal",
        "shrinkage": shrinkage,
        **mismatch_of(
            encoding, split, measured, None if judgement is None else judgement.held_out, prior,
            conditional=conditional, seed=seed, check=check,
        ),
    }  # fmt: skip
