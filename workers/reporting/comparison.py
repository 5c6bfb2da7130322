"""The candidates' table: what was measured of each, floors last, and why the others were not chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from workers.reporting.figures import Figure, figure, lookup, number
from workers.reporting.grid import Cell, Grid, Heading, Line, figure_cells
from workers.reporting.naming import family_text

TIE = 0.02  # nats: what two candidates may differ by and still tie
FLOORS = {
    "reconstructions": ("Reconstructions", "of other held-out rows: the floor"),
    "real": ("Real rows", "apart from decoded ones by the decoder's own error"),
}
_DECODED = ("quality", "decoded")
_MAIN = (
    (Heading("Held-out gain", "nats per row, over {baseline}"), ("gain",), False),
    (Heading("Kernel distance", "to decoded held-out rows"), (*_DECODED, "kernel_distance"), False),
    (Heading("Gap closed", "to the floor"), ("quality", "gap_closed"), True),
    (Heading("Told apart: latents", "0.5 = cannot be"), ("quality", "latent_classifier_auc"), False),
    (Heading("Told apart: rows", "0.5 = cannot be"), (*_DECODED, "classifier_auc"), False),
    (Heading("Precision", ""), (*_DECODED, "precision"), False),
    (Heading("Recall", ""), (*_DECODED, "recall"), False),
)
_BASELINE = Cell("0", "baseline")
_EVERY = (
    (Heading("Kernel distance"), "kernel_distance"),
    (Heading("Kernel distance", "minus the baseline's, paired"), "kernel_distance_over_prior"),
    (Heading("Fréchet distance"), "frechet_distance"),
    (Heading("Sliced Wasserstein"), "sliced_wasserstein"),
    (Heading("Told apart", "0.5 = cannot be"), "classifier_auc"),
    (Heading("Precision"), "precision"),
    (Heading("Recall"), "recall"),
    (Heading("Density"), "density"),
    (Heading("Coverage"), "coverage"),
)

Candidate = Mapping[str, Any]


def candidates_of(content: Mapping[str, Any]) -> list[Candidate]:
    """All candidates, in the order of the content."""
    found = content.get("candidates")
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, Sequence) else []


def name_of(candidate: Candidate) -> str:
    """A candidate's name; its strategy's kind where it has none."""
    return str(candidate.get("name") or lookup(candidate, "strategy", "kind") or "candidate")


def chosen_of(content: Mapping[str, Any]) -> Candidate | None:
    """The candidate that says so of itself, that the recommendation names, or whose strategy it recommends."""
    for candidate in candidates_of(content):
        if candidate.get("chosen") is True:
            return candidate
    named, strategy = (lookup(content, "recommendation", key) for key in ("candidate", "strategy"))
    for candidate in candidates_of(content):
        if named is not None and candidate.get("name") == named:
            return candidate
    for candidate in candidates_of(content):
        if strategy is not None and candidate.get("strategy") == strategy:
            return candidate
    return None


def prior_of(content: Mapping[str, Any]) -> Candidate | None:
    """The candidate that draws from the declared prior as it is, at no other temperature."""
    priors = (one for one in candidates_of(content) if lookup(one, "strategy", "kind") == "prior")
    return next((one for one in priors if lookup(one, "strategy", "temperature") in (None, 1)), None)


def gain_of(candidate: Candidate | None) -> Figure | None:
    """The held-out gain over the baseline; 0 for the prior, which is its own baseline."""
    if candidate is None:
        return None
    return Figure(0.0) if _is_baseline(candidate) else figure(candidate.get("gain"))


def _is_baseline(candidate: Candidate) -> bool:
    """Whether this is the prior, over which gains are measured."""
    found = figure(candidate.get("gain"))
    is_prior = lookup(candidate, "strategy", "kind") == "prior" and not candidate.get("error")
    return is_prior and (found is None or found.value == 0)


def baseline_text(content: Mapping[str, Any]) -> str:
    """What gains are measured over: the prior, or the diagonal Gaussian where no prior is declared."""
    return "the prior" if prior_of(content) is not None or not candidates_of(content) else "the diagonal Gaussian"


def main_grid(content: Mapping[str, Any]) -> Grid:
    """One line per candidate, the floors last."""
    candidates, chosen = candidates_of(content), chosen_of(content)
    floors = _floors(content)
    columns = []
    for _, path, share in _MAIN:
        figures = [gain_of(one) if path == ("gain",) else figure(lookup(one, *path)) for one in candidates]
        figures += [figure(lookup(floor, *path[1:])) for _, _, floor in floors]
        columns.append(figure_cells(figures, share=share))
    own = [_is_baseline(one) for one in candidates] + [False] * len(floors)
    columns[0] = [_BASELINE if known else cell for known, cell in zip(own, columns[0], strict=True)]
    heads = [
        Line(name_of(one), (), _note(one), _kind(one, chosen), _verdict(one, chosen), _marks(one)) for one in candidates
    ]
    heads += [Line(name, (), note, "floor") for name, note, _ in floors]
    lines = [replace(head, cells=tuple(cells)) for head, *cells in zip(heads, *columns, strict=True)]
    baseline = baseline_text(content)
    headings = (Heading(one.text, one.note.format(baseline=baseline)) for one, _, _ in _MAIN)
    return Grid("Candidate", tuple(headings), tuple(lines))


def full_grid(content: Mapping[str, Any], reference: str) -> Grid | None:
    """Every distance to one reference, "decoded" or "real"; None where nothing was measured."""
    named = [(one, lookup(one, "quality", reference)) for one in candidates_of(content)]
    floors = [(name, note, lookup(floor, reference)) for name, note, floor in _floors(content)]
    measured = [found for _, found in named] + [found for _, _, found in floors]
    shown = [(heading, key) for heading, key in _EVERY if any(figure(lookup(found, key)) for found in measured)]
    if not shown:
        return None
    columns = [figure_cells([figure(lookup(found, key)) for found in measured]) for _, key in shown]
    chosen = chosen_of(content)
    heads = [(name_of(one), "", _kind(one, chosen)) for one, _ in named]
    heads += [(name, "", "floor") for name, _, _ in floors]
    lines = [Line(head[0], tuple(cells), head[1], head[2]) for head, *cells in zip(heads, *columns, strict=True)]
    return Grid("Candidate", tuple(heading for heading, _ in shown), tuple(lines))


def _floors(content: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    found = [(*words, lookup(content, "floors", key)) for key, words in FLOORS.items()]
    return [(name, note, floor) for name, note, floor in found if isinstance(floor, Mapping)]


def _note(candidate: Candidate) -> str:
    """What the name leaves unsaid: the family, and whether there is one density per label."""
    parts = [family_text(candidate.get("family"))]
    if lookup(candidate, "strategy", "kind") == "prior":
        parts = ["the density that the model declares"]
    if candidate.get("by_label"):
        parts.append("one per label")
    return ", ".join(part for part in parts if part and part != candidate.get("name"))


def _kind(candidate: Candidate, chosen: Candidate | None) -> str:
    return "failed" if candidate.get("error") else "chosen" if candidate is chosen else ""


def _marks(candidate: Candidate) -> tuple[str, ...]:
    return tuple(str(mark) for mark in candidate.get("marks") or ())


def _verdict(candidate: Candidate, chosen: Candidate | None) -> str:
    """Why a candidate was not chosen; the winner says that it was."""
    if candidate is chosen:
        return "Use this one"
    if error := candidate.get("error"):
        return f"Failed: {error}"
    if why := candidate.get("why_not"):
        return _sentence(str(why))
    return "" if _marks(candidate) else _compared(gain_of(candidate), gain_of(chosen))


def _sentence(clause: str) -> str:
    return clause[:1].upper() + clause[1:]


def _compared(gain: Figure | None, best: Figure | None) -> str:
    if gain is None:
        return "No density to compare"
    if best is None:
        return ""
    less = best.value - gain.value
    if less <= -TIE:
        return f"Gains {number(-less, 2)} nats more, but is not simpler or its rows are not better"
    error = max(gain.error or 0.0, best.error or 0.0)
    return "Ties, but is less simple" if less <= max(TIE, error) else f"Gains {number(less, 2)} nats less"
