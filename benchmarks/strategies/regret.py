"""What a choice costs: its rows' distance on test digits minus that of the best candidate."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from scipy import stats

CANDIDATES = ("prior", "gaussian diagonal", "gaussian", "mixture", "flow")
ADVICE = ("auto", "auto with reference")
FIXED = ("prior", "gaussian", "mixture", "flow")

Result = dict[str, Any]


@dataclass(frozen=True)
class Interval:
    """A mean over training seeds and its 95 % interval, by Student's t."""

    mean: float
    low: float
    high: float


def distance(result: Result, name: str) -> float:
    """The mean of both distances of a candidate."""
    return float(np.mean(result["distances"][name]))


def best_gain(result: Result) -> float:
    """Nats per row that the best fit gains over the prior, on rows held out from the fits."""
    gains = [fit["gain"]["value"] for name, fit in result["fits"].items() if name in CANDIDATES]
    return max(gains)


def best(result: Result) -> str:
    """The candidate whose rows lie nearest. The empirical fit is none: it replays the uploaded rows' posteriors."""
    return min((name for name in CANDIDATES if name in result["distances"]), key=lambda name: distance(result, name))


def regret(result: Result, choice: str) -> float:
    """At least 0, and above 0 by chance where candidates are alike: see `noise`."""
    return distance(result, choice) - distance(result, best(result))


def noise(results: Iterable[Result]) -> float:
    """The standard error of a fit's mean distance beside that of the best in its cell, as both halves show it."""
    errors = []
    for result in results:
        nearest = np.array(result["distances"][best(result)])
        others = set(result["distances"]) & set(CANDIDATES) - {"prior", best(result)}
        errors += [np.diff(np.array(result["distances"][name]) - nearest)[0] / 2.0 for name in others]
    return float(np.sqrt(np.mean(np.square(errors))))


def over_seeds(results: list[Result], policy: str) -> Interval:
    """The mean regret of a policy over all cells; its interval is over training seeds, whose cells belong together."""
    seeds = sorted({result["seed"] for result in results})
    means = np.array(
        [np.mean([regret(cell, chosen(cell, policy)) for cell in results if cell["seed"] == seed]) for seed in seeds]
    )
    spread = means.std(ddof=1) / sqrt(len(means)) if len(means) > 1 else float("nan")
    half = float(stats.t.ppf(0.975, max(1, len(means) - 1)) * spread)
    return Interval(float(means.mean()), float(means.mean()) - half, float(means.mean()) + half)


def chosen(result: Result, policy: str) -> str:
    """The candidate that a policy takes: the report's advice, and the prior where it gives none; or a habit."""
    return result[policy]["choice"] or "prior" if policy in ADVICE else policy


def is_silent(result: Result, policy: str) -> bool:
    """Whether the report gave no advice."""
    return policy in ADVICE and result[policy]["choice"] is None
