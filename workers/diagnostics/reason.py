"""A recommendation in two sentences, for a person in a hurry: what to use, and what it changes in the rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10

from workers.diagnostics.contender import TIE_NATS, Contender
from workers.posteriors.estimate import Estimate

MOST_DECIMALS = 6
TOLD_ERRORS = 2.0  # above chance by so many of its errors an AUC tells two samples apart
LEAST_PERCENT, LEAST_AUC = 0.1, 0.01  # errors are not shown as 0

Gains = Mapping[str, Estimate | None]


@dataclass(frozen=True, eq=False)
class Case:
    """What was decided: the choice, the best it was chosen from, the best beside it, those that fell for their rows.

    baseline: the prior, or the diagonal gaussian in its place; rows: how many were held out.
    """

    chosen: Contender
    best: Contender
    runner_up: Contender | None
    baseline: Contender
    dropped: Sequence[Contender]
    gains: Gains
    rows: int

    @property
    def keep(self) -> str:
        """The choice of the baseline, as the beginning of a sentence."""
        if self.baseline.is_prior:
            return "Keep the prior"
        return f"Draw from the {self.baseline.name}, as the model declares no prior"

    def gain_of(self, contender: Contender) -> str:
        """The gain of a candidate over the baseline, in words."""
        gain = self.gains[contender.name]
        return f"{plus_minus(gain)} nats per row" if gain is not None else "an unknown number of nats"


def sentences(case: Case, *, clear: bool) -> str:
    """Both sentences of a recommendation that names a candidate."""
    if case.chosen is not case.baseline:
        return f"{_what_to_use(case)} {_what_changes(case, clear=clear)}"
    return _kept_for_its_rows(case) if case.dropped else _kept_for_a_tie(case)


def too_few_rows(different: int, needed: int, gains: Gains) -> str:
    """Nothing can be recommended: how many rows there are, and the way out; `gains` of all but the baseline."""
    name, gain = _largest(gains)
    if gain is None:
        seen = "no gain could be measured"
    elif gain.value > 0:
        seen = f"the largest gain is {plus_minus(gain)} nats per row, of {name}"
    else:
        seen = f"nothing is gained: the best, {name}, loses {_size_of(gain)} nats per row"
    return (
        f"A recommendation needs {needed} different held-out rows, and has {different} here. As far as they tell, "
        f"{seen}; a larger dataset, holdout or reference tells more."
    )


def large_gain_of_few_rows(case: Case, different: int, needed: int) -> str:
    """What few rows show all the same, and what they cannot."""
    return (
        f"{_what_to_use(case)} Only {different} different rows were held out, and finer differences need {needed}: "
        f"a larger dataset, holdout or reference tells more."
    )


def nothing_left(why_not: Mapping[str, str]) -> str:
    """Every candidate is out."""
    reasons = "; ".join(f"{name}: {text}" for name, text in why_not.items())
    return f"No candidate can be recommended ({reasons}). Fit a simpler family, or upload more rows."


def worse_rows(contender: Contender, baseline: Contender) -> str:
    """Why a candidate was dropped for its rows."""
    found = contender.kernel_over_prior
    far = f" (kernel distance {plus_minus(found, signed=True)})" if found else ""
    return f"rows worse than the {baseline.name}'s{far}"


def plus_minus(estimate: Estimate, *, signed: bool = False) -> str:
    """`0.31 ± 0.02`: the value and its standard error, to two digits of the error."""
    error = estimate.standard_error
    if not isfinite(error):
        return f"{_number(estimate.value, 2, signed)} (error unknown)"
    decimals = 2 if error <= 0 else min(max(1 - floor(log10(error)), 0), MOST_DECIMALS)
    return f"{_number(estimate.value, decimals, signed)} ± {error:.{decimals}f}"


def _what_to_use(case: Case) -> str:
    also = "" if case.best is case.chosen else f"; {_called(case.best)} ties with it and is less simple"
    return (
        f"Draw from the {_called(case.chosen)}: under it the latents of {case.rows:,} held-out rows are likelier than "
        f"under the {case.baseline.name}, by {case.gain_of(case.chosen)}{also}."
    )


def _called(contender: Contender) -> str:
    """The name as a noun."""
    name = contender.name
    return name.replace("empirical", "empirical density", 1) if name.startswith("empirical") else name


def _what_changes(case: Case, *, clear: bool) -> str:
    chosen, over = case.chosen, case.chosen.kernel_over_prior
    if over is None:
        return f"Its rows were not compared with those of the {case.baseline.name}."
    if not chosen.has_better_rows:
        return _no_difference(case, over)
    doubt = "" if clear else "; the gain itself is below three of its standard errors"
    return f"Its rows {_nearer(case, over)}{_told_apart(case)}{doubt}."


def _nearer(case: Case, over: Estimate) -> str:
    closed = case.chosen.gap_closed
    if closed is None:
        return (
            f"lie nearer to decoded real rows than those of the {case.baseline.name}: "
            f"the kernel distance falls by {_size_of(over)}"
        )
    percent = _percent(closed)
    share = f"the whole gap ({percent})" if closed.value >= 1 else f"{percent} of the gap"
    return (
        f"close {share} in kernel distance between those of the {case.baseline.name} and reconstructions of real rows"
    )


def _no_difference(case: Case, over: Estimate) -> str:
    """What can be said where neither is shown to be nearer."""
    return (
        f"By kernel distance no difference to the rows of the {case.baseline.name} can be shown at this number of rows "
        f"(it changes by {plus_minus(over, signed=True)}){_told_apart(case)}."
    )


def _told_apart(case: Case) -> str:
    """What a classifier finds that knows the latents' rows from decoded real ones, or does not."""
    before, after = case.baseline.classifier_auc, case.chosen.classifier_auc
    if before is None or after is None:
        return ""
    if _is_told(after):
        return (
            f", and a classifier tells its rows from decoded real rows with an AUC of {_auc(after)} instead of "
            f"{_auc(before)} (0.5 is chance)"
        )
    if _is_told(before):
        return (
            f", and a classifier that tells the rows of the {case.baseline.name} from decoded real rows "
            f"(AUC {_auc(before)}) cannot tell its rows ({_auc(after)}; 0.5 is chance)"
        )
    return f", and a classifier tells neither from decoded real rows (AUC {_auc(before)}, {_auc(after)}; 0.5 is chance)"


def _is_told(auc: Estimate) -> bool:
    return auc.value - 0.5 > TOLD_ERRORS * auc.standard_error


def _kept_for_a_tie(case: Case) -> str:
    other = case.runner_up
    if other is None:
        return f"{case.keep}: it is the only candidate that can be chosen. Each other one says why it cannot."
    over = other.kernel_over_prior
    if over is None:
        rows = "Its rows were not compared with those of the " + case.baseline.name
    elif other.has_better_rows or other.has_worse_rows:
        where, moves = ("nearer to", "falls") if other.has_better_rows else ("farther from", "grows")
        rows = f"Its rows lie {where} decoded real rows all the same: the kernel distance {moves} by {_size_of(over)}"
    else:
        rows = (
            f"Nor can a difference of the rows be shown: the kernel distance changes by {plus_minus(over, signed=True)}"
        )
    return f"{case.keep}: over {case.rows:,} held-out rows {_gains_little(case, other)}. {rows}."


def _gains_little(case: Case, other: Contender) -> str:
    gain = case.gains[other.name]
    if gain is not None and gain.value < 0:
        return f"nothing beats it, and the best other candidate, {_called(other)}, loses {_size_of(gain)} nats per row"
    tie = f"which is a tie (at most {TIE_NATS} nats, or one standard error)"
    return f"the best other candidate, {_called(other)}, gains {case.gain_of(other)}, {tie}"


def _kept_for_its_rows(case: Case) -> str:
    first = case.dropped[0]
    over = first.kernel_over_prior
    distance = f"grows by {plus_minus(over)}" if over is not None else "is unknown"
    return (
        f"{case.keep}: {_called(first)} gains {case.gain_of(first)} over {case.rows:,} held-out rows, but its rows lie "
        f"farther from decoded real rows than those of the {case.baseline.name}. The kernel distance {distance}: what "
        "the density rewards does not reach the rows."
    )


def _largest(gains: Gains) -> tuple[str, Estimate | None]:
    found = [(name, gain) for name, gain in gains.items() if gain is not None and isfinite(gain.value)]
    return max(found, key=lambda pair: pair[1].value) if found else ("", None)


def _number(value: float, decimals: int, signed: bool) -> str:
    return f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"


def _size_of(estimate: Estimate) -> str:
    """By how much something falls, grows or loses."""
    return plus_minus(Estimate(abs(estimate.value), estimate.standard_error))


def _percent(share: Estimate) -> str:
    """`93 ± 10 %`; one decimal where the error is below 1 %."""
    error = max(100.0 * share.standard_error, LEAST_PERCENT)
    decimals = 0 if error >= 1 else 1
    return f"{100.0 * share.value:.{decimals}f} ± {error:.{decimals}f} %"


def _auc(auc: Estimate) -> str:
    return f"{auc.value:.2f} ± {max(auc.standard_error, LEAST_AUC):.2f}"
