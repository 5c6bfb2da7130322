"""Diagnostics as people read them: values with their errors, the bracket in words, a line per label."""

from latentmill.commands.diagnostics import readable_diagnostics

BRACKET = {"value": 0.88, "standard_error": 0.02, "upper": 8.83, "method": "mixture", "saturated": True}


def test_the_bracket_says_what_it_holds_and_when_its_upper_end_says_nothing() -> None:
    def shown(**changed: object) -> str:
        text = readable_diagnostics({"marginal_kl": {**BRACKET, **changed}})["marginal_kl"]
        assert isinstance(text, str)
        return text

    assert shown() == "at least 0.88 ± 0.02 (mixture), at most 8.83 (saturated: too few rows to say less)"
    assert shown(saturated=False) == "at least 0.88 ± 0.02 (mixture), at most 8.83"
    assert shown(value=0.0, standard_error=0.0, method="zero", upper=None) == "at least 0"


def test_estimates_are_values_with_errors_and_other_numbers_stay() -> None:
    found = readable_diagnostics(
        {
            "mean_kl": 19.4,
            "gaussian_kl": None,
            "gaussian_gain": {"value": -0.5, "standard_error": 0.1, "covariance": "diagonal"},
            "negentropy": {"value": 0.25, "standard_error": None},
            "per_dimension": [{"mean": 0.5}],
        }
    )
    assert found == {
        "mean_kl": 19.4,
        "gaussian_kl": None,
        "gaussian_gain": "-0.5 ± 0.1 (without correlations)",
        "negentropy": "0.25",
    }


def test_each_label_has_a_line() -> None:
    entries = [{"label": "7", "rows": 1_200, "marginal_kl": BRACKET}, {"label": "8", "rows": 3, "marginal_kl": None}]
    found = readable_diagnostics({"per_label": entries})
    assert found["label 7"].startswith("1,200 rows, marginal_kl at least 0.88")
    assert found["label 8"] == "3 rows"
