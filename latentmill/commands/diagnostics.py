"""The diagnostics of a fit as people read them: values with their errors, the bracket in words, a line per label."""

from collections.abc import Mapping
from typing import Any

UNREAD = ("per_dimension", "per_label")  # tables, which --json has


def readable_diagnostics(diagnostics: Mapping[str, Any]) -> dict[str, Any]:
    """Each diagnostic by its name; estimates as text, in nats."""
    shown = {name: _readable(name, value) for name, value in diagnostics.items() if name not in UNREAD}
    for entry in diagnostics.get("per_label") or []:
        bracket = entry.get("marginal_kl")
        told = f", marginal_kl {_bracket(bracket)}" if bracket else ""
        shown[f"label {entry['label']}"] = f"{entry['rows']:,} rows{told}"
    return shown


def _readable(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping) or "value" not in value:
        return value
    if name == "marginal_kl":
        return _bracket(value)
    return estimate_text(value) + (" (without correlations)" if value.get("covariance") == "diagonal" else "")


def _bracket(bracket: Mapping[str, Any]) -> str:
    """At least the lower end, and by what; at most the upper end, where that says anything."""
    method = "" if bracket["method"] == "zero" else f" ({bracket['method']})"
    text = f"at least {estimate_text(bracket)}{method}"
    if bracket["upper"] is None:
        return text
    reason = " (saturated: too few rows to say less)" if bracket["saturated"] else ""
    return f"{text}, at most {bracket['upper']:.4g}{reason}"


def estimate_text(estimate: Mapping[str, Any]) -> str:
    """value ± standard error; an error of 0 or none is not shown."""
    error = estimate.get("standard_error")
    return f"{estimate['value']:.4g}" + (f" ± {error:.2g}" if error else "")
