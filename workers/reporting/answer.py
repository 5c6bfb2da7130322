"""The top of the page: what to do, why in two sentences, and exactly what to type."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workers.reporting.comparison import baseline_text, candidates_of, chosen_of, gain_of, name_of, prior_of
from workers.reporting.figures import Figure, figure, finite, lookup, number, percent_with_error, signed
from workers.reporting.mismatch import bracket, lost_share
from workers.reporting.naming import EVIDENCE, headline

EXAMPLE_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Fact:
    """One of the few numbers that stand beside the answer."""

    name: str
    value: str
    says: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the first screen says."""

    headline: str
    chosen: str | None
    reason: str
    evidence: str
    evidence_title: str
    evidence_says: str
    facts: tuple[Fact, ...]
    command: str | None
    request: str | None


def answer(content: Mapping[str, Any]) -> Answer:
    """The recommendation in words, with the numbers that carry it."""
    chosen = chosen_of(content)
    strategy = lookup(content, "recommendation", "strategy")
    evidence = str(lookup(content, "recommendation", "evidence") or "")
    title, says = EVIDENCE.get(evidence, (evidence.capitalize(), ""))
    name = name_of(chosen) if chosen is not None else str(lookup(strategy, "kind") or "")
    return Answer(
        headline=headline(strategy, lookup(chosen, "family"), name, over_prior=prior_of(content) is not None),
        chosen=name or None,
        reason=str(lookup(content, "recommendation", "reason") or ""),
        evidence=evidence.replace(" ", "-"),
        evidence_title=title,
        evidence_says=says.format(baseline=baseline_text(content)),
        facts=tuple(fact for fact in (_gain(content), _gap(content), _apart(content), _mismatch(content)) if fact),
        command=_command(content, strategy),
        request=_request(content, strategy),
    )


def _gain(content: Mapping[str, Any]) -> Fact | None:
    """The winner's gain; where the prior wins, the most that any other candidate gains."""
    chosen, prior = chosen_of(content), prior_of(content)
    baseline = baseline_text(content)
    if chosen is None or chosen is prior:
        others = [(gain, name_of(one)) for one in candidates_of(content) if one is not prior and (gain := gain_of(one))]
        if not others:
            return None
        best, name = max(others, key=lambda pair: pair[0].value)
        return Fact("Most that any fit gains", signed(best), f"{name}, over {baseline}, on held-out rows", "nats")
    gain = gain_of(chosen)
    if gain is None:
        return None
    lost = lost_share(gain.value)
    says = f"over {baseline}, on held-out rows"
    if lost and baseline == "the prior":
        says += f"; the prior loses as much as if {lost} of its draws fell where the data have nothing"
    return Fact("Held-out gain", signed(gain), says, "nats")


def _gap(content: Mapping[str, Any]) -> Fact | None:
    closed = figure(lookup(chosen_of(content), "quality", "gap_closed"))
    if closed is None or chosen_of(content) is prior_of(content):
        return None
    says = f"of the distance between the rows of {baseline_text(content)} and reconstructions"
    return Fact("Gap closed", percent_with_error(closed), says)


def _apart(content: Mapping[str, Any]) -> Fact | None:
    pair = [figure(lookup(one, "quality", "latent_classifier_auc")) for one in (prior_of(content), chosen_of(content))]
    texts = [number(found.value, 2) for found in pair if found is not None]
    if not texts:
        return None
    if len(texts) == 2 and chosen_of(content) is not prior_of(content):
        says = "prior → chosen: how well a classifier tells drawn latents from encoded ones (0.5: not at all)"
        return Fact("Told apart", " → ".join(texts), says)
    says = "how well a classifier tells drawn latents from encoded ones (0.5: not at all)"
    return Fact("Told apart", texts[-1], says)


def _mismatch(content: Mapping[str, Any]) -> Fact | None:
    mismatch = lookup(content, "mismatch")
    sides = bracket(mismatch) if isinstance(mismatch, Mapping) else None
    if sides is None:
        return None
    least = finite(lookup(mismatch, "marginal_kl", "value")) or 0.0
    error = finite(lookup(mismatch, "marginal_kl", "standard_error"))
    return Fact("Latents to prior", f"≥ {_short(Figure(least, error))}", f"marginal KL, {sides[1]}", "nats")


def _short(found: Figure) -> str:
    return number(found.value, 2 if found.value < 100 else 1)


def _command(content: Mapping[str, Any], strategy: Mapping[str, Any] | None) -> str | None:
    """The command line that makes the dataset; None where it has no options for the strategy."""
    kind = lookup(strategy, "kind")
    words = ["latentmill", "generate", _model(content), "--strategy", str(kind)]
    if kind == "aggregate" and lookup(strategy, "fit"):
        words += ["--fit", str(lookup(strategy, "fit"))]
    elif kind != "prior":
        return None
    if (temperature := lookup(strategy, "temperature") or 1) != 1:
        words += ["--temperature", f"{temperature:g}"]
    return shlex.join([*words, "--rows", str(EXAMPLE_ROWS)])


def _request(content: Mapping[str, Any], strategy: Mapping[str, Any] | None) -> str | None:
    if strategy is None:
        return None
    told = {key: value for key, value in strategy.items() if value is not None}
    body = {"model": _model(content), "strategy": told, "rows": EXAMPLE_ROWS}
    return json.dumps(body, ensure_ascii=False)


def _model(content: Mapping[str, Any]) -> str:
    return str(lookup(content, "settings", "model", "id") or content.get("model") or "MODEL")
