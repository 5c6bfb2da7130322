"""Fits a mixture: standardise, draw, EM; tune rows choose how many components, inert dimensions stay with the prior."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import DataError, LimitExceeded
from latentmill.specs import Mixture
from workers.posteriors.draws import training_draws
from workers.posteriors.em import Components, first_centres, fit_components
from workers.posteriors.encoding import Encoding
from workers.posteriors.estimate import grouped_mean
from workers.posteriors.gain import row_log_densities
from workers.posteriors.gaussian import refuse_constant, refuse_too_wide
from workers.posteriors.learning import PRIOR_WARNING, Learned, Material, Parameters, Progress
from workers.posteriors.mixture import mixture_density
from workers.posteriors.moments import Moments
from workers.posteriors.split import Split
from workers.randomness.streams import Stream

MIN_DRAWS, MAX_DRAWS = 20_000, 200_000
MAX_DRAW_VALUES = 2**25  # 256 MiB in float64, of which EM makes a few copies
MAX_COVARIANCE_VALUES = 2**26
AUTO_COMPONENTS = (1, 2, 4, 8, 16, 32, 64)
ROWS_PER_COMPONENT = 10  # that `auto` asks for; beyond that tune rows decide, and they do see over-fitting
ROWS_PER_DIMENSION = 2  # of a full covariance: with fewer it follows its rows (20 rows, 30 dimensions: 77 nats worse)

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


def learn_mixture(family: Mixture, material: Material, progress: Progress) -> Learned:
    """Serves what is judged."""
    fitted = fit_mixture(
        material.encoding, material.split, family, material.active,
        seed=material.seed, progress=progress, check=material.check,
    )  # fmt: skip
    judged = mixture_density(fitted.parameters)
    return Learned(fitted.family, fitted.parameters, judged, fitted.rows_used, 0.0, fitted.warnings)


@dataclass(frozen=True, eq=False)
class MixtureFit:
    """The parameters over all D dimensions, the family as resolved, and how many rows were learned from."""

    family: Mixture
    parameters: Parameters
    rows_used: int
    warnings: list[str]


def fit_mixture(
    encoding: Encoding,
    split: Split,
    family: Mixture,
    active: Rows,
    *,
    seed: int,
    progress: Callable[[float], None],
    check: Callable[[], None],
) -> MixtureFit:
    """A mixture over the `active` dimensions; the others are N(0, 1). Chosen by tune rows where components are auto."""
    if family.covariance == "full":
        refuse_too_wide(encoding.latent_size)
    if len(active) == 0:
        return _prior_as_mixture(family, encoding.latent_size)
    chooses = family.components == "auto"
    learner = _Learner(encoding, split.fit if chooses else split.training, family, active, seed, check)
    if isinstance(family.components, int):
        learner.refuse_too_many(family.components)
        return learner.fit(family.components, first_centres(learner.draws, family.components, seed=seed))
    return _choose(learner, split, progress)


class _Learner:
    """The standardised draws that every number of components learns from."""

    def __init__(
        self,
        encoding: Encoding,
        rows: Rows,
        family: Mixture,
        active: Rows,
        seed: int,
        check: Callable[[], None],
    ) -> None:
        self.encoding, self.family, self.active, self.seed, self.check = encoding, family, active, seed, check
        self.count = draw_count(len(rows), len(active))
        self.rows = rows[: self.count]
        self.draws = training_draws(encoding, self.rows, active, self.count, seed=seed)
        moments = Moments.of(self.draws, np.zeros_like(self.draws), full=False)
        refuse_constant(moments)
        self.centre, self.scale = moments.mean, np.sqrt(moments.variance)
        self.draws -= self.centre
        self.draws /= self.scale

    def refuse_too_many(self, components: int) -> None:
        """Each component needs a row, a full covariance many, and all together must fit into memory."""
        if components > len(self.rows):
            raise DataError(
                f"{components} components for {len(self.rows)} rows to learn from; take fewer.",
                pointer="/family/components",
            )
        if self.family.covariance == "full" and not self.fits_memory(components):
            raise LimitExceeded(
                f"{components} full covariances of {self.encoding.latent_size:,} latent values are more than "
                f'{MAX_COVARIANCE_VALUES:,} numbers; take fewer components, or "covariance": "diagonal".',
                pointer="/family/covariance",
            )

        if self.family.covariance == "full" and len(self.rows) < components * self.rows_of_a_covariance:
            raise DataError(
                f"{components} full covariances of {len(self.active)} dimensions take at least "
                f"{components * self.rows_of_a_covariance:,} rows to learn from, not {len(self.rows):,}; take fewer "
                'components, or "covariance": "diagonal".',
                pointer="/family/covariance",
            )

    @property
    def rows_of_a_covariance(self) -> int:
        return ROWS_PER_DIMENSION * len(self.active)

    def fits_memory(self, components: int) -> bool:
        """Whether the covariances of so many components may be held."""
        return self.family.covariance == "diagonal" or (
            components * self.encoding.latent_size**2 <= MAX_COVARIANCE_VALUES
        )

    def fit(self, components: int, centres: Floats) -> MixtureFit:
        """EM for so many components, in the units of the latents."""
        found = fit_components(self.draws, centres, self.family.covariance, check=self.check)
        warnings = (
            [] if found.converged else [f"EM for {components} components had not come to rest when it was ended."]
        )
        return MixtureFit(
            family=self.family.model_copy(update={"components": components}),
            parameters=self._in_latent_units(found),
            rows_used=len(self.rows),
            warnings=warnings,
        )

    def _in_latent_units(self, found: Components) -> Parameters:
        count, size = len(found.weights), self.encoding.latent_size
        means = np.zeros((count, size))
        means[:, self.active] = self.centre + self.scale * found.means
        if self.family.covariance == "diagonal":
            variances = np.ones((count, size))
            variances[:, self.active] = self.scale**2 * found.spread
            return {"weights": found.weights, "means": means, "variances": variances}
        covariances = np.tile(np.eye(size), (count, 1, 1))
        covariances[np.ix_(np.arange(count), self.active, self.active)] = (
            np.outer(self.scale, self.scale) * found.spread
        )
        return {"weights": found.weights, "means": means, "covariances": covariances}


def draw_count(rows: int, width: int) -> int:
    """About max(20,000, rows) draws, at most 200,000: whole copies of the rows, so that none weighs more."""
    limit = max(1, min(MAX_DRAWS, MAX_DRAW_VALUES // width))
    if rows >= limit:
        return limit
    copies = ceil(MIN_DRAWS / rows)
    return rows * max(1, min(copies, limit // rows))


def _choose(learner: _Learner, split: Split, progress: Callable[[float], None]) -> MixtureFit:
    """The fewest components whose tune density is within one paired standard error of the best."""
    learner.refuse_too_many(1)
    needed = ROWS_PER_COMPONENT
    if learner.family.covariance == "full":
        needed = max(needed, learner.rows_of_a_covariance)
    enough = [count for count in AUTO_COMPONENTS if count * needed <= len(learner.rows) and learner.fits_memory(count)]
    counts = enough or [1]
    centres = first_centres(learner.draws, counts[-1], seed=learner.seed)
    fits, scores = [], []
    for count in counts:
        fits.append(learner.fit(count, centres[:count]))
        density = mixture_density(fits[-1].parameters)
        scores += row_log_densities(
            [density], learner.encoding, split.tune, seed=learner.seed, stream=Stream.TUNE_DRAWS, check=learner.check
        )
        progress(sum(counts[: len(fits)]) / sum(counts))
        if past_the_best(scores):
            break
    return fits[fewest_within_error(scores, split.groups[split.tune])]


def past_the_best(scores: list[Floats]) -> bool:
    """Whether the last two of `scores` are no better than one before them: each more costs twice the last."""
    means = [float(score.mean()) for score in scores]
    return len(means) > 2 and max(means[-2:]) <= max(means[:-2])


def fewest_within_error(scores: list[Floats], groups: NDArray[np.int64]) -> int:
    """The first of `scores` (each (n,), simplest first) that the best does not beat by more than one paired error."""
    best = max(scores, key=lambda score: float(score.mean()))
    for number, score in enumerate(scores):
        difference = grouped_mean(best - score, groups)
        if difference.value <= (difference.standard_error if np.isfinite(difference.standard_error) else 0.0):
            return number
    raise AssertionError("the best is within its own error")


def _prior_as_mixture(family: Mixture, size: int) -> MixtureFit:
    spread = {"covariances": np.eye(size)[None]} if family.covariance == "full" else {"variances": np.ones((1, size))}
    return MixtureFit(
        family=family.model_copy(update={"components": 1}),
        parameters={"weights": np.ones(1), "means": np.zeros((1, size)), **spread},
        rows_used=0,
        warnings=[PRIOR_WARNING],
    )
