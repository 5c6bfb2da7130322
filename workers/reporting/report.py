"""From candidates to a recommendation: held-out scores, rows beside two references, memorisation, and the page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from latentmill.errors import DataError
from workers.diagnostics.contender import Contender
from workers.diagnostics.recommendation import Recommendation, recommend
from workers.posteriors.density import Density
from workers.reporting.candidates import Candidate, baseline_of, judged_densities, shown
from workers.reporting.ground import Ground
from workers.reporting.page import render_page
from workers.reporting.rows import RowFindings, look_at_rows
from workers.reporting.scores import held_out_scores, mismatch
from workers.reporting.showing import exhibits_of

Floats = NDArray[np.float64]

FEWEST_ROWS = 20  # with fewer rows on each side nothing can be said of rows


@dataclass(frozen=True, eq=False)
class Report:
    """What was measured, as JSON, the page that shows it, and what the reader should mind."""

    content: dict[str, Any]
    page: str
    warnings: list[str]


def make_report(
    ground: Ground,
    candidates: Sequence[Candidate],
    prior: Density | None,
    *,
    rows: int,
    seed: int,
    settings: Mapping[str, Any],
    heading: Mapping[str, Any] | None = None,
    doubts: Sequence[str] = (),
    batch_rows: int,
    threads: int,
    check: Callable[[], None],
    progress: Callable[[float], None],
) -> Report:
    """Measure `candidates` on `ground`. The prior, or the diagonal gaussian where there is none, must be among them.

    `settings` names what a reader needs to make the report again, `heading` the report's own name and date, and
    `doubts` are warnings of what it rests on. One BLAS thread: numbers must not depend on the
    machine's cores; `threads` candidates are measured at a time.
    """
    conditional = ground.subject.vae.manifest.labels is not None
    baseline = baseline_of(candidates)
    if baseline.error is not None:
        raise DataError(f"There is nothing to gain over: the {baseline.name} could not be fitted. {baseline.error}")
    with threadpool_limits(1):
        scores = held_out_scores(ground, judged_densities(candidates), conditional=conditional, seed=seed, check=check)
        progress(0.2)
        found = None
        if ground.compared >= FEWEST_ROWS:
            found = look_at_rows(
                ground, candidates, seed=seed, batch_rows=batch_rows, threads=threads, check=check, progress=progress
            )
        progress(0.9)
        contenders = [_contender(each, scores.get(each.name), found) for each in candidates]
        recommendation = recommend(contenders, ground.groups)
        apart = mismatch(ground, scores, baseline.name, prior, conditional=conditional, seed=seed, check=check)
        warnings = [*doubts, *_warnings(ground, rows), *_of_choice(candidates, recommendation)]
        content = {
            "settings": {**settings, **_own_settings(ground, found)},
            "mismatch": apart,
            "candidates": [
                _entry(each, contender, scores, recommendation, found)
                for each, contender in zip(candidates, contenders, strict=True)
            ],
            "floors": found.floors if found is not None else {},
            "recommendation": recommendation.as_json(),
            "warnings": warnings,
        }
        exhibits = exhibits_of(ground, prior, apart, found, seed=seed, batch_rows=batch_rows)
        check()
        return Report(content, render_page({**content, **(heading or {})}, exhibits), warnings)


def _contender(candidate: Candidate, scores: Floats | None, found: RowFindings | None) -> Contender:
    """The candidate as the recommendation sees it."""
    quality = found.quality.get(candidate.name) if found is not None else None
    alike = found.resemblance.get(candidate.name) if found is not None else None
    return Contender(
        name=candidate.name,
        strategy={} if candidate.strategy is None else candidate.strategy.canonical(),
        family=candidate.family,
        by_label=candidate.by_label,
        scores=scores,
        kernel_over_prior=None if quality is None else quality.kernel_over_prior,
        memorisation=() if alike is None else alike.measured,
        gap_closed=None if quality is None else quality.gap_closed,
        classifier_auc=None if quality is None else quality.classifier_auc,
        error=candidate.error,
    )


def _entry(
    candidate: Candidate,
    contender: Contender,
    scores: Mapping[str, Floats],
    recommendation: Recommendation,
    found: RowFindings | None,
) -> dict[str, Any]:
    """One candidate, as reports show it."""
    gain = recommendation.gains.get(candidate.name)
    own = scores.get(candidate.name)
    quality = found.quality.get(candidate.name) if found is not None else None
    alike = found.resemblance.get(candidate.name) if found is not None else None
    return {
        **shown(candidate),
        "holdout_nll": None if own is None or gain is None else -float(np.nanmean(own)),
        "gain": None if gain is None else gain.as_json(),
        "quality": None if quality is None else quality.measured,
        "memorisation": None if alike is None else alike.as_json(),
        "marks": contender.marks(gain),
        "chosen": candidate.name == recommendation.candidate,
        "why_not": recommendation.why_not.get(candidate.name),
    }


def _own_settings(ground: Ground, found: RowFindings | None) -> dict[str, Any]:
    """What the comparison was made on."""
    return {
        "rows": ground.compared if found is not None else 0,
        "holdout_rows": len(ground.split.holdout),
        "judging_rows": len(ground.judging),
        "features": None if found is None else f"{found.features} principal components of the dataset's fit rows",
        "output": "mean",
    }


def _of_choice(candidates: Sequence[Candidate], recommendation: Recommendation) -> list[str]:
    """The warnings of the fit that is recommended; those of the others warn of what nobody is told to use."""
    chosen = [each for each in candidates if each.name == recommendation.candidate]
    return [f"{each.name}: {warning}" for each in chosen for warning in each.warnings]


def _warnings(ground: Ground, rows: int) -> list[str]:
    told = []
    if ground.may_share_steps:
        told.append(
            "Rows may overlap: they are windows of a series, and are held out at random. Where they do, gains look "
            "larger than they are; a reference from another stretch of time tells."
        )
    if ground.judge.rows is None:
        told.append(
            f"The {ground.judges} holds latents, not rows: candidates were compared with what these are decoded to. "
            "How far that lies from real rows cannot be measured; repeated ones were looked for among latents alone."
        )
    if ground.seen:
        told.append(
            f"{ground.seen:,} of the {ground.judge.encoding.rows:,} rows of the reference are in the dataset too, and "
            "were left out."
        )
    if ground.compared < FEWEST_ROWS:
        told.append(
            f"Rows were not compared: that takes {FEWEST_ROWS} for each reference, and this report has "
            f"{ground.compared}. Give it a larger {ground.larger}."
        )
    elif ground.compared < rows and ground.compared == ground.subject.most_compared:
        told.append(
            f"{rows:,} rows were asked for, and {ground.compared:,} compared: rows of "
            f"{ground.subject.values_per_row:,} values are too large to hold more of them in memory."
        )
    elif ground.compared < rows:
        told.append(
            f"{rows:,} rows were asked for, and {ground.compared:,} compared: half of the {len(ground.judging):,} rows "
            f"that judge. A larger {ground.larger} gives more."
        )
    return told
