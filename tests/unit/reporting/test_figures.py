"""Numbers as the page writes them, labels that do not collide, and what the mismatch block says."""

from math import inf, log, nan

import pytest

from workers.reporting.axis import Axis
from workers.reporting.figures import Figure, digits_for, figure, number, percent_with_error, signed, with_error
from workers.reporting.labels import Label, placed
from workers.reporting.mismatch import bracket, bracket_says, label_grid, lost_share, quantities


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.7018, 0.0187, "0.702 ± 0.019"),
        (0.7018, 0.04, "0.70 ± 0.04"),
        (-19.31, 0.41, "−19.3 ± 0.4"),
        (-0.0001, 0.02, "0.000 ± 0.020"),
        (0.00213, 0.00041, "0.0021 ± 0.0004"),
        (1234.5, 31.0, "1,234 ± 31"),
        (2.5, None, "2.50"),
    ],
)
def test_an_error_decides_how_many_digits_a_number_has(value: float, error: float | None, text: str) -> None:
    assert with_error(Figure(value, error)) == text


def test_digits_of_a_column_suit_its_middle_error() -> None:
    assert digits_for([Figure(2.31, 0.05), Figure(0.011, 0.004), Figure(0.014, 0.004), None]) == 3
    assert digits_for([None, None]) == 2
    assert digits_for([Figure(21_150.0, 412.0)]) == 0


def test_what_is_no_number_is_a_dash() -> None:
    for measured in (None, nan, inf, True, "0.3", {}, {"value": None}, {"value": nan, "standard_error": 0.1}):
        assert figure(measured) is None
    assert with_error(None) == percent_with_error(None) == number(nan) == "–"
    assert figure({"value": 1.0, "low": 0.5, "high": 2.0}) == Figure(1.0, None, 0.5, 2.0)
    assert with_error(Figure(1.0, None, 0.5, 2.0), 1) == "1.0 (0.5 to 2.0)"


def test_differences_carry_their_sign() -> None:
    assert signed(Figure(0.702, 0.019)) == "+0.702 ± 0.019"
    assert signed(Figure(-0.702, 0.019)) == "−0.702 ± 0.019"
    assert signed(Figure(0.0, 0.0)) == "0.00 ± 0.00"


def test_shares_show_errors_below_half_a_per_cent() -> None:
    assert percent_with_error(Figure(0.962, 0.021)) == "96\u202f% ± 2\u202f%"
    assert percent_with_error(Figure(0.9984, 0.0012)) == "99.8\u202f% ± 0.1\u202f%"


def test_the_bracket_says_when_its_upper_end_says_nothing() -> None:
    found = {"value": 0.709, "standard_error": 0.021, "upper": 13.57, "method": "flow", "saturated": True}
    assert bracket({"marginal_kl": found}) == (
        "at least 0.71 ± 0.02 nats", "at most 13.6 nats (saturated: may be far too high)"
    )  # fmt: skip
    assert bracket({"marginal_kl": {**found, "upper": 0.93, "saturated": False}}) == (
        "at least 0.71 ± 0.02 nats", "at most 0.93 nats"
    )  # fmt: skip
    least, most = bracket({"marginal_kl": {**found, "upper": None, "value": 0.0, "standard_error": 0.0}}) or ("", "")
    assert least == "at least 0.00 nats"
    assert "no upper bound" in most
    assert bracket({"marginal_kl": None}) is None
    assert "51\u202f% of the prior's draws" in bracket_says({"marginal_kl": found})
    assert "held-out gain of the flow" in bracket_says({"marginal_kl": found})


def test_nats_as_a_share_of_draws_that_miss_the_data() -> None:
    assert lost_share(log(2)) == "50\u202f%"
    assert lost_share(0.001) == "less than 1\u202f%"
    assert lost_share(40.0) == "more than 99\u202f%"
    assert lost_share(-0.3) is lost_share(None) is None


def test_many_inert_dimensions_are_counted_not_listed() -> None:
    inert = {entry.name: entry for entry in quantities({"latent_size": 4096, "inert_dimensions": list(range(4000))})}
    assert inert["Inert dimensions"].value == "4,000 of 4,096"
    assert inert["Inert dimensions"].says.endswith("22, 23 and 3,976 more.")


def test_labels_of_a_conditional_model_have_a_line_each() -> None:
    bound = {"value": 0.51, "standard_error": 0.03, "upper": None, "method": "zero", "saturated": True}
    entries = [{"label": name, "rows": 1200, "marginal_kl": bound, "mean_kl": None} for name in ("cat", "dog")]
    grid = label_grid({"per_label": entries})
    assert grid is not None
    assert [line.name for line in grid.lines] == ["cat", "dog"]
    assert [cell.text for cell in grid.lines[0].cells] == ["1,200", "0.51", "–", "–", "–", "–"]
    assert label_grid({}) is None


@pytest.mark.parametrize("bend", [None, 0.01])
def test_an_axis_turns_pixels_back_into_numbers(bend: float | None) -> None:
    axis = Axis(-0.02, 3.7, 380, bend)
    for value in (-0.02, 0.0, 0.004, 0.3, 3.7):
        assert axis.back(axis.at(value)) == pytest.approx(value, abs=1e-12)
    assert axis.at(-0.02) == 0
    assert axis.at(3.7) == pytest.approx(380)


def test_labels_take_the_first_place_that_is_free() -> None:
    marks = [(100.0, 100.0), (104.0, 100.0)]
    wishes = [
        [Label(f"candidate {n}", x + 12, y + lines * 17, False, "black") for lines in (0.6, -0.6, 1.6, -1.6, 2.6)]
        for n, (x, y) in enumerate(marks * 2)
    ]
    found = placed(wishes, marks, 640, 380)
    assert found[0] == wishes[0][0]
    assert not any(one.covers(other) for one in found for other in found if one is not other)
    assert not any(one.hides(x, y) for one in found for x, y in marks)
