"""How far the latents lie from the prior: each number with what it says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any

from workers.reporting.figures import NONE, Figure, count, figure, finite, lookup, number, percent, with_error
from workers.reporting.grid import Grid, Heading, Line, figure_cells

LISTED_DIMENSIONS = 24
_OF_LABELS: tuple[tuple[Heading, tuple[str, ...], int], ...] = (
    (Heading("Rows"), ("rows",), 0),
    (Heading("Marginal KL", "at least"), ("marginal_kl",), 2),
    (Heading("Marginal KL", "at most"), ("marginal_kl", "upper"), 2),
    (Heading("Mean KL", "R"), ("mean_kl",), 2),
    (Heading("Mutual information"), ("index_code_mutual_information",), 2),
    (Heading("KL of the Gaussian"), ("gaussian_kl",), 2),
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A measured quantity, its value as text, and what the value says."""

    name: str
    value: str
    says: str


def bracket(mismatch: Mapping[str, Any]) -> tuple[str, str] | None:
    """The marginal KL as two clauses, `at least ...` and `at most ...`; None where it was not measured."""
    found = figure(mismatch.get("marginal_kl"))
    if found is None:
        return None
    upper = finite(lookup(mismatch, "marginal_kl", "upper"))
    digits = 2 if found.value < 100 else 1
    least = f"at least {with_error(Figure(found.value, found.error or None), digits)} nats"
    if upper is None:
        return least, "no upper bound: the encoder is deterministic"
    most = f"at most {number(upper, 2 if upper < 10 else 1)} nats"
    if lookup(mismatch, "marginal_kl", "saturated"):
        most += " (saturated: may be far too high)"
    return least, most


def lost_share(nats: float | None) -> str | None:
    """The share of draws that would have to fall where the data have nothing to lose that many nats: 1 - exp(-nats)."""
    if nats is None or nats <= 0:
        return None
    share = 1.0 - exp(-nats)
    if share < 0.01:
        return "less than 1\u202f%"
    return "more than 99\u202f%" if share > 0.99 else percent(share)


def bracket_says(mismatch: Mapping[str, Any]) -> str:
    """What the marginal KL means here, and how its lower bound was obtained."""
    if figure(mismatch.get("marginal_kl")) is None:
        return ""
    lost = lost_share(finite(lookup(mismatch, "marginal_kl", "value")))
    like = f" As many nats are lost when {lost} of the prior's draws fall where the data have nothing." if lost else ""
    method = lookup(mismatch, "marginal_kl", "method")
    shown = f" The lower bound is {_method(method)}." if method else ""
    return f"How far the latents as a whole lie from the prior: what the choice of strategy can gain.{like}{shown}"


def label_grid(mismatch: Mapping[str, Any]) -> Grid | None:
    """One line per label of a conditional model; None for all others."""
    labels = mismatch.get("per_label")
    if not isinstance(labels, Sequence) or not labels:
        return None
    columns = [figure_cells([figure(lookup(one, *path)) for one in labels], digits=d) for _, path, d in _OF_LABELS]
    lines = [
        Line(str(lookup(one, "label")), tuple(cells)) for one, *cells in zip(labels, *columns, strict=True)
    ]  # fmt: skip
    return Grid("Label", tuple(heading for heading, _, _ in _OF_LABELS), tuple(lines))


def quantities(mismatch: Mapping[str, Any]) -> list[Quantity]:
    """The rows of the mismatch table, in the order in which they explain each other."""
    return [*_rate(mismatch), *_gaussian(mismatch), *_units(mismatch)] if mismatch else []


def _method(method: object) -> str:
    known = {
        "zero": "the one that always holds: no density gains anything",
        "leave-one-out": "the density of rows' latents under the posteriors of all other rows",
    }
    return known.get(str(method), f"the held-out gain of the {method}")


def _rate(mismatch: Mapping[str, Any]) -> list[Quantity]:
    rate, error = finite(mismatch.get("mean_kl")), finite(mismatch.get("mean_kl_standard_error"))
    information = figure(mismatch.get("index_code_mutual_information"))
    ceiling = finite(mismatch.get("index_code_ceiling"))
    deterministic = "none: the encoder has no noise, so this has no finite value"
    rows = [
        Quantity(
            "Mean KL of a row, R",
            NONE if rate is None else f"{with_error(Figure(rate, error), 2)} nats",
            deterministic if rate is None else "What the encoder tells of one row: the KL term of the training loss.",
        )
    ]
    if information is not None:
        near = "" if ceiling is None else f" It cannot exceed ln n = {number(ceiling, 2)}."
        shown = f"{with_error(information, 2)} nats"
        says = f"How much of R tells which row it was. R minus this is the upper bound above.{near}"
        if rate is None:
            says = "Without noise a latent tells exactly which row it was, so this is ln n and says nothing else."
        rows.append(Quantity("Index-code mutual information", shown, says))
    if (about := figure(mismatch.get("label_information"))) is not None:
        says = "How much of the gain comes from one density per label: what the latents tell of the label."
        rows.append(Quantity("Information about the label", f"{with_error(about, 2)} nats", says))
    if (bound := figure(mismatch.get("leave_one_out"))) is not None:
        says = "A lower bound of the marginal KL without any fit; narrow posteriors make it useless."
        rows.append(Quantity("Leave-one-out bound", f"{with_error(bound, 2)} nats", says))
    return rows


def _gaussian(mismatch: Mapping[str, Any]) -> list[Quantity]:
    rows = []
    if (repaired := finite(mismatch.get("gaussian_kl"))) is not None:
        says = "The part that one fitted Gaussian repairs, in closed form from the means and covariances."
        rows.append(Quantity("KL of the fitted Gaussian to the prior", f"{number(repaired, 2)} nats", says))
    if (gained := figure(mismatch.get("gaussian_gain"))) is not None:
        covariance = lookup(mismatch, "gaussian_gain", "covariance") or "full"
        says = f"What the latents' mean and {covariance} covariance gain on held-out rows."
        rows.append(Quantity("Gain of the moments", f"{with_error(gained, 2)} nats", says))
    if (rest := figure(mismatch.get("negentropy"))) is not None:
        upper = finite(mismatch.get("negentropy_upper"))
        most = "" if upper is None else f"; at most {number(upper, 2)}"
        says = "What a richer family (mixture, flow) is shown to gain beyond one Gaussian."
        rows.append(Quantity("Negentropy", f"at least {with_error(rest, 2)} nats{most}", says))
    return rows


def _units(mismatch: Mapping[str, Any]) -> list[Quantity]:
    size = mismatch.get("latent_size")
    of = f" of {count(size)}" if size is not None else ""
    rows = []
    for key, name, says in (
        (
            "informative_units",
            "Informative dimensions",
            "Their means vary by more than 1\u202f% of their posterior variance.",
        ),
        (
            "active_units",
            "Active units (Burda)",
            "For comparison with papers; it depends on the latents' scale and decides nothing.",
        ),
    ):
        if mismatch.get(key) is not None:
            rows.append(Quantity(name, f"{count(mismatch[key])}{of}", says))
    inert = mismatch.get("inert_dimensions")
    if isinstance(inert, Sequence) and not isinstance(inert, str):
        shown = ", ".join(str(dimension) for dimension in inert[:LISTED_DIMENSIONS])
        more = f" and {count(len(inert) - LISTED_DIMENSIONS)} more" if len(inert) > LISTED_DIMENSIONS else ""
        which = f"They carry nothing and are left to the prior: {shown}{more}." if inert else "Every dimension is used."
        rows.append(Quantity("Inert dimensions", f"{count(len(inert))}{of}", which))
    return rows
