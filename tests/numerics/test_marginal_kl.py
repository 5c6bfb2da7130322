"""The bracket around KL(q || p), and what is shown to lie beyond the moments, with errors that are paired."""

import numpy as np
import pytest

from workers.posteriors.estimate import Estimate
from workers.posteriors.marginal_kl import LEAVE_ONE_OUT, HeldOut, MarginalKl, marginal_kl, negentropy


def test_the_largest_lower_bound_is_named() -> None:
    bounds = {"gaussian": Estimate(0.3, 0.02), "flow": Estimate(0.5, 0.03), LEAVE_ONE_OUT: Estimate(-20.0, 0.1)}
    found = marginal_kl(bounds, upper=4.0, saturated=True)
    assert found.as_json() == {
        "value": 0.5, "standard_error": 0.03, "upper": 4.0, "method": "flow", "saturated": True
    }  # fmt: skip
    below = marginal_kl({"gaussian": Estimate(-0.1, 0.02), "mixture": Estimate(float("nan"), 1.0)}, upper=None,
                        saturated=False)  # fmt: skip
    assert below == MarginalKl(0.0, 0.0, None, "zero", False)


def scores() -> HeldOut:
    """1,000 rows, each score the baseline's with a gain; the mixture and the gaussian share most of their noise."""
    generator = np.random.default_rng(0)
    baseline, shared, own = generator.standard_normal((3, 1_000))
    gaussian = baseline + 0.5 + shared
    mixture = gaussian + 0.2 + 0.1 * own
    return HeldOut({"gaussian": gaussian, "mixture": mixture}, baseline, np.arange(1_000))


def test_what_a_mixture_adds_to_the_moments_has_a_paired_error() -> None:
    held_out = scores()
    gains = held_out.gains()
    bracket = marginal_kl(gains, upper=2.0, saturated=False)
    found = negentropy(bracket, held_out, "gaussian")
    assert bracket.method == "mixture"
    assert found is not None
    difference = held_out.scores["mixture"] - held_out.scores["gaussian"]
    assert found.value == pytest.approx(difference.mean(), rel=1e-9)
    assert found.standard_error == pytest.approx(difference.std(ddof=1) / 1_000**0.5, rel=1e-9)
    assert found.standard_error < gains["gaussian"].standard_error / 5


def test_other_bounds_have_the_errors_of_their_own_rows() -> None:
    held_out = scores()
    gaussian = held_out.gains()["gaussian"]
    left_out = marginal_kl({**held_out.gains(), LEAVE_ONE_OUT: Estimate(1.0, 0.07)}, upper=None, saturated=False)
    found = negentropy(left_out, held_out, "gaussian")
    assert found is not None
    assert found.value == pytest.approx(1.0 - gaussian.value)
    assert found.standard_error == pytest.approx((0.07**2 + gaussian.standard_error**2) ** 0.5)
    worse = HeldOut({"gaussian": held_out.baseline - held_out.scores["gaussian"]}, held_out.baseline, held_out.groups)
    nothing = negentropy(marginal_kl({}, upper=None, saturated=False), worse, "gaussian")
    loss = worse.gains()["gaussian"]
    assert nothing == Estimate(pytest.approx(-loss.value), pytest.approx(loss.standard_error))
    itself = negentropy(marginal_kl({"gaussian": gaussian}, upper=None, saturated=False), held_out, "gaussian")
    assert itself == Estimate(pytest.approx(0.0, abs=1e-12), pytest.approx(0.0, abs=1e-12))


def test_rows_that_were_not_scored_are_left_out_of_both() -> None:
    held_out = scores()
    part = held_out.scores["mixture"].copy()
    part[300:] = np.nan
    some = HeldOut({**held_out.scores, "mixture": part, "none": np.full(1_000, np.nan)}, held_out.baseline,
                   held_out.groups)  # fmt: skip
    assert set(some.gains()) == {"gaussian", "mixture"}
    assert some.gains()["mixture"].value == pytest.approx((part - held_out.baseline)[:300].mean())
    difference = some.difference("mixture", "gaussian")
    assert difference is not None
    assert difference.value == pytest.approx((held_out.scores["mixture"] - held_out.scores["gaussian"])[:300].mean())
