"""What to draw from: the simplest of the candidates that held-out rows cannot tell apart, if its rows bear it out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from workers.diagnostics import reason
from workers.diagnostics.contender import Contender, Groups
from workers.posteriors.estimate import Estimate

FEWEST_ROWS = 100  # different held-out rows
CLEAR_ERRORS = 3.0
FEWEST_TO_STAND_OUT = 20  # with fewer rows an error is no error
STANDS_OUT_ERRORS = 5.0

Gains = Mapping[str, Estimate | None]

CLEAR, DENSITY_ONLY, AGREE, TOO_FEW_ROWS = "clear", "density only", "agree", "too few rows"


@dataclass(frozen=True, eq=False)
class Recommendation:
    """What a report advises.

    candidate, strategy: the name and the strategy object of the choice, or None. evidence: "clear" (gain above 3 errors
    and rows nearer by 2), "density only" (not so), "agree" (the prior, or what takes its place, ties with the best that
    is left), "too few rows". gains: over the prior (or what takes its place), None
    without a finite density. why_not: for each candidate that is not the choice, one clause.
    """

    candidate: str | None
    strategy: Mapping[str, Any] | None
    reason: str
    evidence: str
    gains: dict[str, Estimate | None] = field(default_factory=dict)
    why_not: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The recommendation as reports show it; gains and clauses go to the candidates."""
        strategy = None if self.strategy is None else dict(self.strategy)
        return {
            "candidate": self.candidate,
            "strategy": strategy,
            "reason": self.reason,
            "evidence": self.evidence,
        }


def recommend(contenders: Sequence[Contender], groups: Groups) -> Recommendation:
    """The rule, over held-out scores; `groups` (n,) numbers held-out rows that are identical, which count once.

    1. Of the candidates with a finite density and without a sign of memorisation, best has the largest gain; those
       within max(0.02 nats, one paired error) of it tie.
    2. The simplest of the tied wins.
    3. Unless its rows lie farther from the decoded reference than the prior's by more than 2 paired errors: then it is
       dropped, and the rest compete again.
    Without a declared prior the diagonal gaussian takes the prior's place; one of the two must be a contender. Gain,
    kernel distance and memorisation decide; everything else explains. Of fewer than 100 different rows the evidence is
    "too few rows", and only a gain above 5 errors names a strategy.
    """
    baseline = _baseline(contenders)
    gains = {each.name: each.gain_over(baseline, groups) for each in contenders}
    why_not = {each.name: text for each in contenders if (text := _disqualified(each, gains[each.name]))}
    able = [each for each in contenders if each.name not in why_not]
    different = len(np.unique(groups))
    few = different < FEWEST_ROWS
    chosen, dropped = _choose(able, baseline, gains, groups) if different else (None, [])
    if few and not _stands_out(chosen, baseline, gains, different):
        why_not = {
            **{each.name: f"not judged: too few different rows held out ({different})" for each in able},
            **why_not,
        }
        others = {each.name: gains[each.name] for each in able if each is not baseline}
        text = reason.too_few_rows(different, FEWEST_ROWS, others)
        return Recommendation(None, None, text, TOO_FEW_ROWS, gains, why_not)
    why_not |= {each.name: reason.worse_rows(each, baseline) for each in dropped}
    if chosen is None:
        return Recommendation(None, None, reason.nothing_left(why_not), DENSITY_ONLY, gains, why_not)
    left = [each for each in able if each not in dropped]
    best = _best(left, gains)
    why_not |= {each.name: _lost(each, chosen, best, groups) for each in left if each is not chosen}
    case = reason.Case(chosen, best, _runner_up(left, chosen, gains), baseline, dropped, gains, len(groups))
    if few:
        text = reason.large_gain_of_few_rows(case, different, FEWEST_ROWS)
        return Recommendation(chosen.name, chosen.strategy, text, TOO_FEW_ROWS, gains, why_not)
    evidence = AGREE if chosen is baseline else _evidence(chosen, gains[chosen.name])
    text = reason.sentences(case, clear=evidence == CLEAR)
    return Recommendation(chosen.name, chosen.strategy, text, evidence, gains, why_not)


def _stands_out(chosen: Contender | None, baseline: Contender, gains: Gains, different: int) -> bool:
    """Whether a gain is so large that even few rows show it: to be silent would cost more than to be a little wrong.

    (MNIST, 50 held-out rows: gains of 3.5 ± 0.4 and 33.8 ± 2.1 nats, where the prior's rows lie 15 to 50 times as far
    away as those of the fit.)
    """
    gain = gains.get(chosen.name) if chosen is not None else None
    if chosen is baseline or gain is None or different < FEWEST_TO_STAND_OUT:
        return False
    return bool(gain.value > STANDS_OUT_ERRORS * gain.standard_error)


def _baseline(contenders: Sequence[Contender]) -> Contender:
    for stands_in in (lambda each: each.is_prior, lambda each: each.is_diagonal_gaussian):
        for each in filter(stands_in, contenders):
            return each
    raise ValueError("neither the prior nor a diagonal gaussian is among the candidates: there is nothing to gain over")


def _disqualified(contender: Contender, gain: Estimate | None) -> str | None:
    """Why a candidate cannot be chosen whatever the others do; None where it can."""
    if contender.error is not None:
        return f"failed: {contender.error}"
    if contender.scores is None:
        return "no density: nothing to judge by"
    if gain is None or not np.isfinite(gain.value):
        return "no finite density: some held-out rows are impossible under it"
    if contender.memorises is not None:
        return f"memorises (z = {contender.memorises.z:.0f})"
    return None


def _choose(
    able: Sequence[Contender], baseline: Contender, gains: Gains, groups: Groups
) -> tuple[Contender | None, list[Contender]]:
    """The choice, and those that would have been it but for their rows; None where nothing is left."""
    left = list(able)
    dropped: list[Contender] = []
    while left:
        best = _best(left, gains)
        chosen = min((each for each in left if each.ties_with(best, groups)), key=lambda each: each.simplicity)
        if chosen is baseline or not chosen.has_worse_rows:
            return chosen, dropped
        left.remove(chosen)
        dropped.append(chosen)
    return None, dropped


def _best(contenders: Sequence[Contender], gains: Gains) -> Contender:
    def gain(contender: Contender) -> float:
        found = gains[contender.name]
        return -np.inf if found is None else found.value

    return max(contenders, key=gain)


def _runner_up(left: Sequence[Contender], chosen: Contender, gains: Gains) -> Contender | None:
    others = [each for each in left if each is not chosen]
    return _best(others, gains) if others else None


def _lost(contender: Contender, chosen: Contender, best: Contender, groups: Groups) -> str:
    """Why a candidate that could have been chosen was not."""
    if contender.ties_with(best, groups):
        return f"ties, but {chosen.name} is simpler"
    return f"loses {reason.plus_minus(best.ahead_of(contender, groups))} nats to {best.name}"


def _evidence(chosen: Contender, gain: Estimate | None) -> str:
    shown = gain is not None and gain.value > CLEAR_ERRORS * gain.standard_error
    return CLEAR if shown and chosen.has_better_rows else DENSITY_ONLY
