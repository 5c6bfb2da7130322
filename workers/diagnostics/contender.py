"""One candidate, with all that the recommendation looks at."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmill.specs import Empirical, Family, Gaussian
from workers.diagnostics.memorisation import Memorisation
from workers.diagnostics.simplicity import simplicity
from workers.posteriors.estimate import Estimate, grouped_mean

TIE_NATS = 0.02  # a strategy with 2 % of its draws where no row lies loses as much
WORSE_ERRORS = 2.0  # by which the rows must lie farther from the reference than the prior's

Floats = NDArray[np.float64]
Groups = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Contender:
    """A candidate of a report.

    name: as the report shows it, a noun phrase: "prior", "mixture of 20". strategy: the strategy object that a job
    takes. family: None where nothing was fitted; a mixture's `components` must be the fit's number, not "auto".
    scores: held-out log densities l_i (n,) of the same rows and draws for all contenders; NaN where a row was not
    scored; None without a density. kernel_over_prior: kernel distance to the decoded reference minus the prior's,
    paired; None for the prior, or where it was not measured. memorisation: in features and in latents, those measured.
    error: why the candidate could not be measured at all.
    """

    name: str
    strategy: Mapping[str, Any]
    family: Family | None = None
    by_label: bool = False
    scores: Floats | None = None
    kernel_over_prior: Estimate | None = None
    memorisation: tuple[Memorisation, ...] = ()
    gap_closed: Estimate | None = None
    classifier_auc: Estimate | None = None
    error: str | None = None

    @property
    def is_prior(self) -> bool:
        """The prior as it is declared."""
        return self.strategy.get("kind") == "prior" and not self._has_temperature

    @property
    def is_diagonal_gaussian(self) -> bool:
        """What takes the prior's place where none is declared."""
        diagonal = isinstance(self.family, Gaussian) and self.family.covariance == "diagonal"
        return diagonal and not self.by_label and not self._has_temperature

    @property
    def _has_temperature(self) -> bool:
        return bool(self.strategy.get("temperature", 1.0) != 1.0)

    @cached_property
    def simplicity(self) -> tuple[int, ...]:
        """What ties are decided by, simplest first; a density as it is comes before the same at a temperature."""
        return (*simplicity(self.family, self.by_label), int(self._has_temperature))

    @cached_property
    def memorises(self) -> Memorisation | None:
        """The strongest sign that it hands out the fit's rows; none for a prior, which has seen no rows."""
        marked = [found for found in self.memorisation if found.marked and self.strategy.get("kind") != "prior"]
        return max(marked, key=lambda found: found.z) if marked else None

    @property
    def has_worse_rows(self) -> bool:
        """Its rows lie farther from the decoded reference than the prior's, by more than 2 paired errors."""
        found = self.kernel_over_prior
        return found is not None and found.value > WORSE_ERRORS * found.standard_error

    @property
    def has_better_rows(self) -> bool:
        """Its rows lie nearer to the decoded reference than the prior's, by more than 2 paired errors."""
        found = self.kernel_over_prior
        return found is not None and -found.value > WORSE_ERRORS * found.standard_error

    def ahead_of(self, other: "Contender", groups: Groups) -> Estimate:
        """mean_i (l_i - l'_i) over the rows that both were scored on, with its paired error over groups of rows."""
        if self.scores is None or other.scores is None:
            raise ValueError(f"{self.name if self.scores is None else other.name} has no density")
        both = ~(np.isnan(self.scores) | np.isnan(other.scores))
        return grouped_mean(self.scores[both] - other.scores[both], groups[both])

    def gain_over(self, baseline: "Contender", groups: Groups) -> Estimate | None:
        """How much the held-out ELBO rises when this takes the baseline's place; None without a finite density."""
        if self.scores is None or baseline.scores is None:
            return None
        if bool(np.isinf(self.scores).any() or np.isinf(baseline.scores).any()):
            return None  # a row that the density rules out
        return self.ahead_of(baseline, groups)

    def ties_with(self, best: "Contender", groups: Groups) -> bool:
        """The best is ahead by 0.02 nats at most, or by one paired error."""
        lead = best.ahead_of(self, groups)
        return lead.value <= max(TIE_NATS, lead.standard_error)

    def marks(self, gain: Estimate | None) -> list[str]:
        """What a report marks a candidate with; `gain` over the prior."""
        marks = []
        if self.memorises is not None:
            marks.append("memorises")
        if isinstance(self.family, Empirical) and gain is not None and not gain.value > 0:
            marks.append("no smooth density")
        if self.has_worse_rows:
            marks.append("worse rows than the prior")
        return marks
