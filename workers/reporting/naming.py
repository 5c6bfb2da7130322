"""Families, strategies and marks in words."""

from collections.abc import Mapping
from typing import Any

from workers.reporting.figures import count

EVIDENCE = {  # baseline: "the prior", or what gains are over in its place
    "clear": (
        "Clear",
        "The held-out gain is more than three standard errors above zero, and the rows lie nearer to the reference by "
        "more than two.",
    ),
    "density only": (
        "Density only",
        "The latents are described better, but at this number of rows the generated rows cannot be told from those of "
        "{baseline}.",
    ),
    "agree": (
        "Agree",
        "As far as these rows can tell, no candidate is better than {baseline}, which is the simplest.",
    ),
    "too few rows": (
        "Too few rows",
        "Fewer than 100 different rows judge: read the numbers with their errors, and give more rows before relying on "
        "them.",
    ),
}


def family_text(family: Mapping[str, Any] | str | None) -> str:
    """What a family's name leaves unsaid: `32 components, full covariance`."""
    if not isinstance(family, Mapping):
        return family or ""
    covariance = family.get("covariance")
    shape = f"{covariance} covariance" if covariance else ""
    match family.get("kind"):
        case "gaussian":
            return shape
        case "mixture":
            components = family.get("components")
            many = f"{count(components)} components" if isinstance(components, int) else "as many components as help"
            return f"{many}, {shape}".rstrip(", ")
        case "empirical":
            components = family.get("components")
            which = "every encoded row" if components in ("all", None) else f"{count(components)} encoded rows"
            bandwidth = family.get("bandwidth", 1.0)
            return which if bandwidth == 1.0 else f"{which}, bandwidth {bandwidth:g}"
        case "flow":
            transforms = family.get("transforms")
            return f"{transforms} spline transforms" if transforms else ""
        case kind:
            return str(kind or "")


def headline(
    strategy: Mapping[str, Any] | None, family: Mapping[str, Any] | str | None, name: str, *, over_prior: bool
) -> str:
    """What to do, in one sentence; `over_prior` says whether the prior was there to be preferred to."""
    if strategy is None:
        return "No recommendation"
    kind = family.get("kind") if isinstance(family, Mapping) else None
    temperature = strategy.get("temperature") or 1
    hot = "" if temperature == 1 else f" at temperature {temperature:g}"
    otherwise = f"{hot}, not from the prior" if over_prior else hot
    match strategy.get("kind"):
        case "prior":
            return f"Draw the latents from the prior{hot}"
        case "aggregate":
            fitted = {
                "gaussian": "the fitted Gaussian",
                "mixture": "the fitted mixture",
                "flow": "the fitted flow",
                "empirical": "around the encoded rows",
            }
            return f"Draw the latents from {fitted.get(str(kind), f'“{name}”')}{otherwise}".replace(
                "from around", "around"
            )
        case "posterior":
            return f"Draw the latents around the encoded rows{otherwise}"
        case _:
            return f"Use “{name}”"
