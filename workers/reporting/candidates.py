"""The candidates of a report, and their rows, all from the same noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import Internal
from latentmill.specs import Family, Gaussian, Prior, Strategy
from workers.posteriors.density import Density
from workers.posteriors.encoding import Encoding
from workers.reporting.samples import Sample, of_strategy
from workers.reporting.subject import Subject
from workers.sampling import open_strategy


@dataclass(frozen=True, eq=False)
class Candidate:
    """One way to choose latents. `served` draws its rows; `judged` is the same, fitted without the judging rows.

    Both are None where the strategy has no density but draws `around` encoded rows, or where the fit failed with
    `error`. `strategy` is None where no fit was begun.
    """

    name: str
    strategy: Strategy | None
    family: Family | None = None
    by_label: bool = False
    fit: str | None = None
    served: Density | None = None
    judged: Density | None = None
    around: Encoding | None = None
    warnings: tuple[str, ...] = ()  # of its fit
    error: str | None = None

    @property
    def is_prior(self) -> bool:
        """The prior as it is declared."""
        return isinstance(self.strategy, Prior) and not self._has_temperature

    @property
    def is_diagonal_gaussian(self) -> bool:
        """What takes the prior's place where none is declared."""
        diagonal = isinstance(self.family, Gaussian) and self.family.covariance == "diagonal"
        return diagonal and not self.by_label and not self._has_temperature

    @property
    def _has_temperature(self) -> bool:
        return getattr(self.strategy, "temperature", 1.0) != 1.0


def baseline_of(candidates: Sequence[Candidate]) -> Candidate:
    """What gains and distances are compared with: the prior, or the diagonal gaussian where none is declared."""
    for each in candidates:
        if each.is_prior:
            return each
    for each in candidates:
        if each.is_diagonal_gaussian:
            return each
    raise ValueError("neither the prior nor a diagonal gaussian is among the candidates")


def judged_densities(candidates: Sequence[Candidate]) -> dict[str, Density]:
    """The densities that held-out rows score, by candidate."""
    return {each.name: each.judged for each in candidates if each.judged is not None}


def sample_of(
    candidate: Candidate, subject: Subject, labels: NDArray[np.int64] | None, rows: int, *, seed: int, batch_rows: int
) -> Sample:
    """`rows` rows of the candidate. A conditional model makes as many of each class as the reference has (`labels`).

    Rows that are drawn around others keep the labels of those.
    """
    manifest = subject.vae.manifest
    if candidate.strategy is None:
        raise Internal(f"The candidate {candidate.name} has no strategy to draw by")
    counts = None
    if manifest.labels is not None and labels is not None and candidate.around is None:
        numbers = np.bincount(labels, minlength=len(manifest.labels.classes)).tolist()
        counts = dict(zip(manifest.labels.classes, numbers, strict=True))
    source = open_strategy(
        candidate.strategy,
        seed=seed,
        rows=rows,
        manifest=manifest,
        density=candidate.served,
        encoding=candidate.around,
        counts=counts,
    )
    return of_strategy(subject.vae, source, rows, batch_rows=batch_rows)


def shown(candidate: Candidate) -> dict[str, Any]:
    """What a candidate is, as reports show it."""
    return {
        "name": candidate.name,
        "strategy": None if candidate.strategy is None else candidate.strategy.canonical(),
        "family": None if candidate.family is None else candidate.family.canonical(),
        "by_label": candidate.by_label,
        "fit": candidate.fit,
        "error": candidate.error,
    }
