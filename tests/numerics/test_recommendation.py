"""The rule of numerics, branch by branch, on constructed scores."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from latentmill.specs import Empirical, Family, Flow, Gaussian, Mixture
from workers.diagnostics.contender import Contender
from workers.diagnostics.memorisation import Memorisation
from workers.diagnostics.recommendation import Recommendation, recommend
from workers.diagnostics.simplicity import simplicity
from workers.posteriors.estimate import Estimate

ROWS = 400
NOISE = np.random.default_rng(0).standard_normal((9, ROWS))
NOISE = (NOISE - NOISE.mean(axis=1, keepdims=True)) / NOISE.std(axis=1, ddof=1, keepdims=True)
GROUPS = np.arange(ROWS)
FAMILIES: dict[str, Family | None] = {
    "prior": None,
    "diagonal": Gaussian(covariance="diagonal"),
    "gaussian": Gaussian(),
    "mixture": Mixture(components=10),
    "flow": Flow(),
    "empirical": Empirical(),
}


def contender(name: str, gain: float, *, error: float = 0.01, rows: tuple[float, float] | None = None, **more: Any):
    """A contender whose gain over a prior of mean 0 is exactly `gain` +- `error`, with a noise of its own."""
    family = FAMILIES[name]
    own = error * ROWS**0.5 * NOISE[list(FAMILIES).index(name)]
    options = {
        "scores": -3.0 + gain + (own if family is not None else np.zeros(ROWS)),
        "kernel_over_prior": None if family is None else Estimate(*(rows or (-0.5, 0.01))),
        "strategy": {"kind": "prior"} if family is None else {"kind": "aggregate", "fit": f"fit_{name}"},
    }
    return Contender(name=name, family=family, **{**options, **more})


def judged(*contenders: Contender, groups: np.ndarray = GROUPS) -> Recommendation:
    found = recommend(contenders, groups)
    sentences = found.reason.replace("0.", "0,").split(". ")
    assert len([part for part in sentences if part.strip()]) == 2, found.reason
    chosen = {found.candidate} - {None}
    assert chosen | set(found.why_not) == {each.name for each in contenders}
    assert not chosen & set(found.why_not)
    return found


PRIOR = contender("prior", 0.0)


def marked(z: float) -> tuple[Memorisation, ...]:
    return (Memorisation(0.9, 0.8, 0.1 / z, z),)


def test_a_clear_gain_with_nearer_rows() -> None:
    best = contender(
        "mixture",
        1.5,
        gap_closed=Estimate(0.98, 0.02),
        classifier_auc=Estimate(0.53, 0.01),
    )
    prior = contender("prior", 0.0, classifier_auc=Estimate(0.99, 0.001))
    found = judged(prior, contender("gaussian", 1.19), best)
    assert (found.candidate, found.evidence) == ("mixture", "clear")
    assert found.strategy == {"kind": "aggregate", "fit": "fit_mixture"}
    assert found.gains["mixture"].value == pytest.approx(1.5)
    assert found.gains["mixture"].standard_error == pytest.approx(0.01)
    assert found.why_not["prior"] == "loses 1.500 ± 0.010 nats to mixture"
    assert found.why_not["gaussian"].startswith("loses 0.310 ± 0.01")
    for part in (
        "Draw from the mixture",
        "400 held-out rows",
        "1.500 ± 0.010 nats",
        "98 ± 2 % of the gap in kernel distance",
        "with an AUC of 0.53 ± 0.01 instead of 0.99 ± 0.01",
    ):
        assert part in found.reason
    assert found.as_json() == {
        "candidate": "mixture",
        "strategy": {"kind": "aggregate", "fit": "fit_mixture"},
        "reason": found.reason,
        "evidence": "clear",
    }


def test_without_a_gap_the_kernel_distance_itself_is_told() -> None:
    found = judged(PRIOR, contender("mixture", 1.5, rows=(-0.5, 0.02)))
    assert "nearer to decoded real rows" in found.reason
    assert "falls by 0.500 ± 0.020" in found.reason
    assert "gap" not in found.reason


@pytest.mark.parametrize(
    ("closed", "text"),
    [
        (Estimate(0.998, 0.002), "close 99.8 ± 0.2 % of the gap"),
        (Estimate(0.93, 0.103), "close 93 ± 10 % of the gap"),
        (Estimate(1.06, 0.17), "close the whole gap (106 ± 17 %) in"),
        (Estimate(0.95, 0.0), "close 95.0 ± 0.1 % of the gap"),
    ],
)
def test_no_share_of_the_gap_is_more_certain_than_its_digits(closed: Estimate, text: str) -> None:
    assert text in judged(PRIOR, contender("mixture", 1.5, gap_closed=closed)).reason


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (0.94, 0.53, "a classifier that tells the rows of the prior from decoded real rows (AUC 0.94 ± 0.03) cannot"),
        (0.94, 0.38, "cannot tell its rows (0.38 ± 0.03; 0.5 is chance)"),
        (0.55, 0.47, "tells neither from decoded real rows (AUC 0.55 ± 0.03, 0.47 ± 0.03; 0.5 is chance)"),
        (0.94, 0.57, "tells its rows from decoded real rows with an AUC of 0.57 ± 0.03 instead of 0.94 ± 0.03"),
    ],
)
def test_a_classifier_tells_apart_only_above_two_of_its_errors(before: float, after: float, text: str) -> None:
    prior = contender("prior", 0.0, classifier_auc=Estimate(before, 0.03))
    assert text in judged(prior, contender("mixture", 1.5, classifier_auc=Estimate(after, 0.03))).reason


def test_the_prior_agrees_where_no_fit_gains_more_than_a_tie() -> None:
    found = judged(PRIOR, contender("gaussian", 0.015, rows=(0.001, 0.002)), contender("mixture", -0.3))
    assert (found.candidate, found.strategy, found.evidence) == ("prior", {"kind": "prior"}, "agree")
    assert found.why_not["gaussian"] == "ties, but prior is simpler"
    assert found.why_not["mixture"].startswith("loses 0.31")
    assert "Keep the prior" in found.reason
    assert "0.015 ± 0.010 nats" in found.reason
    assert "Nor can a difference of the rows be shown" in found.reason
    worse = judged(PRIOR, contender("empirical", -0.31, rows=(0.001, 0.002)))
    assert "nothing beats it, and the best other candidate, empirical density, loses 0.310 ± 0.010" in worse.reason
    assert "tie" not in worse.reason


def test_a_tie_is_two_hundredths_of_a_nat_or_one_paired_error() -> None:
    assert judged(PRIOR, contender("gaussian", 0.0199, error=0.001)).candidate == "prior"
    assert judged(PRIOR, contender("gaussian", 0.0201, error=0.001)).candidate == "gaussian"
    assert judged(PRIOR, contender("gaussian", 0.0995, error=0.1)).candidate == "prior"
    assert judged(PRIOR, contender("gaussian", 0.1005, error=0.1)).candidate == "gaussian"


def test_the_error_of_a_tie_is_the_paired_one() -> None:
    """Two fits that err together: 0.05 nats between them are many paired errors, though each gain is +- 0.1."""
    gaussian = contender("gaussian", 1.0, error=0.1)
    mixture = contender("mixture", 1.05, scores=gaussian.scores + 0.05 + 0.02 * NOISE[8])
    assert judged(PRIOR, gaussian, mixture).candidate == "mixture"


def test_the_simplest_of_the_tied_wins_whatever_their_order() -> None:
    tied = [contender("flow", 1.01), contender("mixture", 1.0), contender("gaussian", 0.995)]
    for order in (tied, tied[::-1]):
        found = judged(PRIOR, *order)
        assert found.candidate == "gaussian"
        assert found.why_not["flow"] == found.why_not["mixture"] == "ties, but gaussian is simpler"
        assert "flow ties with it and is less simple" in found.reason


def test_rows_decide_between_density_only_and_clear() -> None:
    same = judged(PRIOR, contender("mixture", 0.5, rows=(-0.003, 0.002)))
    assert (same.candidate, same.evidence) == ("mixture", "density only")
    assert "no difference to the rows of the prior" in same.reason
    assert "-0.0030 ± 0.0020" in same.reason
    unsure = judged(PRIOR, contender("mixture", 0.5, error=0.2))
    assert (unsure.candidate, unsure.evidence) == ("mixture", "density only")
    assert "below three of its standard errors" in unsure.reason
    unknown = judged(PRIOR, contender("mixture", 0.5, kernel_over_prior=None))
    assert (unknown.candidate, unknown.evidence) == ("mixture", "density only")
    assert "not compared" in unknown.reason


def test_worse_rows_veto_the_best_and_the_next_is_judged_anew() -> None:
    """The gaussian did not tie with the flow, but it is the best of what is left."""
    vetoed = contender("flow", 1.0, rows=(0.2, 0.05))
    found = judged(PRIOR, vetoed, contender("gaussian", 0.6))
    assert (found.candidate, found.evidence) == ("gaussian", "clear")
    assert found.why_not["flow"] == "rows worse than the prior's (kernel distance +0.200 ± 0.050)"
    assert judged(PRIOR, contender("flow", 1.0, rows=(0.2, 0.11))).candidate == "flow"  # below 2 errors
    assert vetoed.marks(None) == ["worse rows than the prior"]


def test_the_veto_strikes_the_simplest_of_the_tied_first() -> None:
    found = judged(PRIOR, contender("gaussian", 1.0, rows=(0.2, 0.05)), contender("flow", 1.01))
    assert found.candidate == "flow"
    assert "rows worse" in found.why_not["gaussian"]


def test_the_prior_stays_where_every_fit_has_worse_rows() -> None:
    worse = {"rows": (0.2, 0.01)}
    found = judged(PRIOR, contender("gaussian", 0.5, **worse), contender("mixture", 1.0, **worse))
    assert (found.candidate, found.evidence) == ("prior", "agree")
    assert "Keep the prior: mixture gains 1.000 ± 0.010 nats" in found.reason
    assert "farther" in found.reason
    assert all("rows worse" in text for text in found.why_not.values())


def test_what_memorises_is_left_out() -> None:
    copier = contender("empirical", 5.0, memorisation=marked(12.3))
    found = judged(PRIOR, copier, contender("gaussian", 0.5, memorisation=marked(3.9)))
    assert found.candidate == "gaussian"
    assert found.why_not["empirical"] == "memorises (z = 12)"
    assert copier.marks(Estimate(5.0, 0.1)) == ["memorises"]
    assert judged(contender("prior", 0.0, memorisation=marked(9)), copier).candidate == "prior"  # it has seen no rows


def test_candidates_without_a_finite_density_cannot_be_chosen() -> None:
    ruled_out = contender("mixture", 9.0)
    ruled_out.scores[3] = -np.inf
    failed = replace(contender("flow", 1.0), scores=None, error="the inverse is off by 0.1")
    empty = contender("empirical", 1.0, scores=None)
    found = judged(PRIOR, ruled_out, failed, empty, contender("gaussian", 0.4))
    assert found.candidate == "gaussian"
    assert found.why_not["flow"] == "failed: the inverse is off by 0.1"
    assert "impossible" in found.why_not["mixture"]
    assert "no density" in found.why_not["empirical"]
    assert found.gains["mixture"] is found.gains["flow"] is found.gains["empirical"] is None


def test_a_narrow_density_is_no_smooth_density_and_not_worse_rows() -> None:
    narrow = contender("empirical", -19.0)
    found = judged(PRIOR, narrow, contender("gaussian", 0.4))
    assert narrow.marks(found.gains["empirical"]) == ["no smooth density"]
    assert found.why_not["empirical"].startswith("loses 19.4")


def test_scores_are_compared_on_the_rows_that_both_have() -> None:
    """The empirical is scored on a part of the rows, where the gaussian is better than elsewhere."""
    gaussian = contender("gaussian", 1.0, error=0.0)
    gaussian.scores[:100] += 1.0
    empirical = contender("empirical", 1.5, error=0.0)
    empirical.scores[100:] = np.nan
    found = judged(PRIOR, gaussian, empirical)
    assert found.gains["empirical"].value == pytest.approx(1.5)
    assert found.gains["gaussian"].value == pytest.approx(1.25)
    assert empirical.ahead_of(gaussian, GROUPS).value == pytest.approx(-0.5)


def test_copies_of_a_row_count_once() -> None:
    """Every row four times: errors double, so that 0.05 +- 0.03 as independent rows is a tie in truth."""
    scores = -3.0 + 0.05 + 0.03 * 20 * np.repeat(NOISE[0][:100], 4) / np.std(NOISE[0][:100])
    scores += 0.05 - (scores + 3.0).mean()
    gaussian = contender("gaussian", 0.0, scores=scores)
    assert judged(PRIOR, gaussian).candidate == "gaussian"
    assert judged(PRIOR, gaussian, groups=np.arange(ROWS) // 4).candidate == "prior"


def test_too_few_rows_recommend_nothing() -> None:
    all_rows = [PRIOR, contender("gaussian", 0.7, error=0.1), contender("empirical", 2.0, memorisation=marked(8))]
    found = judged(*(replace(each, scores=each.scores[:99]) for each in all_rows), groups=np.arange(99))
    assert (found.candidate, found.strategy, found.evidence) == (None, None, "too few rows")
    assert "needs 100 different held-out rows, and has 99 here" in found.reason
    assert "nats per row, of gaussian" in found.reason
    assert found.why_not["empirical"] == "memorises (z = 8)"
    assert "too few" in found.why_not["gaussian"]
    copies = judged(PRIOR, contender("gaussian", 0.7), groups=np.arange(ROWS) % 99)
    assert copies.evidence == "too few rows"


@pytest.mark.parametrize(("rows", "named"), [(50, "gaussian"), (20, "gaussian"), (19, None)])
def test_a_gain_that_stands_out_of_few_rows_names_a_strategy(rows: int, named: str | None) -> None:
    all_rows = [PRIOR, contender("gaussian", 4.0, error=0.1), contender("mixture", 4.0, error=0.1)]
    found = judged(*(replace(each, scores=each.scores[:rows]) for each in all_rows), groups=np.arange(rows))
    assert (found.candidate, found.evidence) == (named, "too few rows")
    assert (found.strategy is None) == (named is None)
    assert f"{rows} " in found.reason


def test_a_gain_of_few_rows_is_not_followed_where_rows_are_worse() -> None:
    all_rows = [PRIOR, contender("gaussian", 4.0, error=0.1, rows=(0.5, 0.01))]
    found = judged(*(replace(each, scores=each.scores[:50]) for each in all_rows), groups=np.arange(50))
    assert (found.candidate, found.evidence) == (None, "too few rows")


def test_nothing_held_out_recommends_nothing() -> None:
    none = [contender(name, 0.0, scores=None) for name in ("prior", "gaussian")]
    found = judged(*none, groups=np.arange(0))
    assert (found.candidate, found.evidence) == (None, "too few rows")
    assert "has 0 here. As far as they tell, no gain could be measured" in found.reason
    assert found.gains == {"prior": None, "gaussian": None}


def test_without_a_declared_prior_the_diagonal_gaussian_takes_its_place() -> None:
    diagonal = contender("diagonal", 0.0, error=0.0)
    found = judged(contender("mixture", 0.8), diagonal, contender("gaussian", 0.3))
    assert (found.candidate, found.evidence) == ("mixture", "clear")
    assert found.gains["diagonal"].value == 0.0
    assert "likelier than under the diagonal, by 0.800" in found.reason
    same = judged(diagonal, contender("gaussian", 0.01))
    assert (same.candidate, same.evidence) == ("diagonal", "agree")
    assert "declares no prior" in same.reason
    with pytest.raises(ValueError, match="diagonal gaussian"):
        recommend([contender("gaussian", 0.3)], GROUPS)


def test_only_the_prior_as_declared_is_what_gains_are_over() -> None:
    """Neither rows drawn around others nor a prior at another temperature take its place."""
    around = Contender("posterior", {"kind": "posterior"}, memorisation=marked(30))
    cold = Contender("prior at 0.5", {"kind": "prior", "temperature": 0.5}, scores=PRIOR.scores + 0.3)
    found = judged(around, cold, PRIOR, contender("gaussian", 0.7))
    assert found.candidate == "gaussian"
    assert found.gains["gaussian"].value == pytest.approx(0.7)
    assert found.why_not["posterior"] == "no density: nothing to judge by"
    assert around.marks(None) == ["memorises"]
    assert judged(around, contender("diagonal", 0.0), contender("gaussian", 0.7)).gains["diagonal"].value == 0.0


def test_nothing_is_left_where_all_memorise() -> None:
    found = judged(
        contender("diagonal", 0.0, memorisation=marked(6)), contender("mixture", 1.0, memorisation=marked(9))
    )
    assert (found.candidate, found.strategy) == (None, None)
    assert "mixture: memorises (z = 9)" in found.reason


def test_one_candidate_alone_is_kept() -> None:
    found = judged(PRIOR)
    assert (found.candidate, found.evidence) == ("prior", "agree")


def test_simplicity_orders_families_then_components_then_labels() -> None:
    order: list[tuple[Family | None, bool]] = [
        (None, False),
        (Gaussian(covariance="diagonal"), False),
        (Gaussian(covariance="diagonal"), True),
        (Gaussian(), False),
        (Gaussian(), True),
        (Mixture(components=2), False),
        (Mixture(components=10, covariance="diagonal"), False),
        (Mixture(components=10), False),
        (Mixture(components=10), True),
        (Mixture(components=64), False),
        (Flow(), False),
        (Flow(), True),
        (Empirical(), False),
        (Empirical(), True),
    ]
    ranks = [simplicity(*each) for each in order]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(ranks)
