"""Held-out scores: every density of a report on the same draws around the same rows."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.posteriors.density import Density
from workers.posteriors.gain import row_log_densities
from workers.posteriors.marginal_kl import HeldOut
from workers.posteriors.mismatch import mismatch_of
from workers.posteriors.twin import gaussian_twin, label_texts
from workers.randomness.streams import Stream
from workers.reporting.ground import Ground

Floats = NDArray[np.float64]
Scores = dict[str, Floats]


def held_out_scores(
    ground: Ground, densities: Mapping[str, Density], *, conditional: bool, seed: int, check: Callable[[], None]
) -> Scores:
    """By name ln f (n,) of the judging rows, each the mean of 4 draws; NaN at rows that a density was not scored on."""
    scores = row_log_densities(
        list(densities.values()),
        ground.judge.encoding,
        ground.judging,
        seed=seed,
        stream=Stream.HOLDOUT_DRAWS,
        given_labels=conditional,
        check=check,
    )
    return dict(zip(densities, scores, strict=True))


def mismatch(
    ground: Ground,
    scores: Mapping[str, Floats],
    baseline: str,
    prior: Density | None,
    *,
    conditional: bool,
    seed: int,
    check: Callable[[], None],
) -> dict[str, Any]:
    """How far q(z) lies from the prior; the gain of every candidate is a lower bound of it."""
    encoding = ground.subject.encoding
    others = {name: score for name, score in scores.items() if name != baseline}
    twin = gaussian_twin(encoding, ground.split, ground.measured, conditional=conditional, check=check)
    if twin is not None:
        others = held_out_scores(ground, dict([twin]), conditional=conditional, seed=seed, check=check) | others
    held_out = HeldOut(others, scores[baseline], ground.groups, label_texts(ground.judge.encoding, ground.judging))
    return mismatch_of(
        encoding, ground.split, ground.measured, held_out, prior, conditional=conditional, seed=seed, check=check
    )
