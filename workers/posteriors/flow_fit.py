"""Fits a flow: standardise, train on fresh draws of the posteriors, stop by the tune rows, check the inverse."""

from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import DataError, LimitExceeded
from latentmill.specs import Flow
from workers.posteriors.draws import repeated_draws, training_draws
from workers.posteriors.flow import FlowDensity, flow_density, flow_parameters
from workers.posteriors.gain import DRAWS_PER_ROW
from workers.posteriors.gaussian import MIN_EIGENVALUE, cholesky, refuse_constant, smallest_correlation_eigenvalue
from workers.posteriors.learning import PRIOR_WARNING, Learned, Material, Progress
from workers.posteriors.moments import Moments
from workers.posteriors.shrinkage import shrinkage_of
from workers.randomness.noise import normals, uniforms
from workers.randomness.streams import Stream

MAX_ACTIVE = 256
BATCH_ROWS = 512
MIN_STEPS, MOST_STEPS = 400, 1_500  # that `auto` takes: the most from MOST_STEPS_ROWS rows on, fewer for fewer
MOST_STEPS_ROWS = 50_000
MAX_STEPS = 200_000
TUNE_ROWS = 1_024  # that are looked at while it learns
CHECKED_ROWS = 4_096
FAR = 8.0  # standard deviations
MAX_INVERSE_ERROR = 1e-6

Floats = NDArray[np.float64]


def learn_flow(family: Flow, material: Material, progress: Progress) -> Learned:
    """Serves what is judged. It begins as the Gaussian of the fit rows, and tune rows decide how far it goes on."""
    # Training alone needs torch: drawing from a fit must not load it.
    from workers.posteriors.flow_training import Course, train

    size, active, rows = material.encoding.latent_size, material.active, material.split.fit
    if len(active) == 0:
        nothing = FlowDensity(np.zeros(size, dtype=np.bool_), np.zeros(0), np.zeros((0, 0)), [])
        family = family.model_copy(update={"epochs": 1})
        return Learned(family, flow_parameters(nothing), nothing, 0, 0.0, [PRIOR_WARNING])
    refuse_size(len(active))
    steps = steps_of(family, len(rows))
    centre, scale, shrinkage = _standard(material)
    inverse = np.linalg.inv(scale)

    def standardised(latents: Floats) -> Floats:
        result: Floats = (latents - centre) @ inverse.T
        return result

    trained = train(
        couplings_given(len(active), family.transforms, material.seed),
        family.hidden,
        Course(steps, BATCH_ROWS),
        lambda step: standardised(
            training_draws(material.encoding, rows, active, BATCH_ROWS, first=step * BATCH_ROWS, seed=material.seed)
        ),
        standardised(_tune_draws(material)),
        material.split.groups[material.split.tune[:TUNE_ROWS]],
        seed=material.seed,
        check=material.check,
        progress=progress,
    )
    parameters = flow_parameters(FlowDensity(np.isin(np.arange(size), active), centre, scale, trained.couplings))
    density = flow_density(parameters)
    check_inverse(density, material.seed)
    if family.epochs == "auto":
        family = family.model_copy(update={"epochs": ceil(steps * BATCH_ROWS / len(rows))})
    return Learned(family, parameters, density, len(rows), shrinkage, _told(trained.kept_at))


def refuse_size(active: int) -> None:
    """A coupling needs two dimensions, and its cost grows with their square."""
    if active < 2:
        raise DataError(
            "A flow bends dimensions by what others are, and only 1 latent dimension is not inert; take the family "
            "mixture.",
            pointer="/family/kind",
        )
    if active > MAX_ACTIVE:
        raise LimitExceeded(
            f"A flow takes at most {MAX_ACTIVE} dimensions that are not inert, not {active:,}; take the family "
            'gaussian or mixture with "covariance": "diagonal".',
            pointer="/family/kind",
        )


def steps_of(family: Flow, rows: int) -> int:
    """Gradient steps: those of its epochs, or as many as the rows are worth."""
    if family.epochs == "auto":
        return round(min(MOST_STEPS, max(MIN_STEPS, MOST_STEPS * sqrt(rows / MOST_STEPS_ROWS))))
    steps = ceil(family.epochs * rows / BATCH_ROWS)
    if steps > MAX_STEPS:
        raise LimitExceeded(
            f"{family.epochs:,} epochs of {rows:,} rows are {steps:,} steps, and a flow takes at most {MAX_STEPS:,}; "
            f"take {max(1, MAX_STEPS * BATCH_ROWS // rows):,} epochs or fewer.",
            pointer="/family/epochs",
        )
    return steps


def couplings_given(active: int, transforms: int, seed: int) -> list[NDArray[np.bool_]]:
    """Which dimensions each coupling leaves as they are: a random half, then the other half, then another half."""
    masks: list[NDArray[np.bool_]] = []
    noise = uniforms(seed, Stream.FLOW_ORDER, 0, transforms * active).reshape(transforms, active)
    for number in range(transforms):
        if number % 2:
            masks.append(~masks[-1])
            continue
        given = np.zeros(active, dtype=np.bool_)
        given[np.argsort(noise[number], kind="stable")[: active // 2]] = True
        masks.append(given)
    return masks


def check_inverse(density: FlowDensity, seed: int) -> None:
    """Raises DataError where T(T^-1(u)) is not u within 1e-6, for normals and for u as far as 8 in every dimension."""
    active = int(density.active.sum())
    base = normals(seed, Stream.FLOW_CHECK, 0, CHECKED_ROWS, active)
    base[: CHECKED_ROWS // 4] = FAR * np.sign(base[: CHECKED_ROWS // 4])
    farther = base[CHECKED_ROWS // 4 : CHECKED_ROWS // 2]
    farther *= FAR / np.abs(farther).max(axis=1, keepdims=True)
    error = np.abs(density.forward(density.inverse(base))[0] - base).max()
    if not error <= MAX_INVERSE_ERROR:
        raise DataError(
            f"The flow that was learned cannot be inverted (it is off by {error:.1e}), so it cannot be drawn from; "
            "take fewer transforms, or the family mixture.",
            pointer="/family",
        )


def _told(kept_at: int) -> list[str]:
    if kept_at > 0:
        return []
    return ["The flow is the Gaussian of its rows: on the tune rows nothing that it learned was clearly better."]


def _standard(material: Material) -> tuple[Floats, Floats, float]:
    """m and L of the fit rows, S = L L', over the active dimensions; the diagonal of L where S is singular."""
    encoding, active = material.encoding, material.active
    rows = np.sort(material.split.fit)
    moments = Moments.none(len(active), full=True)
    for block in encoding.blocks_of(rows):
        material.check()
        mean, std = encoding.mean[block][:, active], encoding.std[block][:, active]
        moments = moments.merge(Moments.of(mean, std, full=True))
    refuse_constant(moments)
    shrinkage = shrinkage_of(encoding, rows, moments, columns=active)
    covariance = moments.covariance(shrinkage)
    if smallest_correlation_eigenvalue(covariance) < MIN_EIGENVALUE:
        return moments.mean, np.diag(np.sqrt(moments.variance)), 1.0
    return moments.mean, cholesky(covariance), shrinkage


def _tune_draws(material: Material) -> Floats:
    """Draws around the first tune rows, (n, draws, A)."""
    rows = material.split.tune[:TUNE_ROWS]
    blocks = repeated_draws(material.encoding, rows, seed=material.seed, stream=Stream.TUNE_DRAWS, copies=DRAWS_PER_ROW)
    return np.concatenate([latents[:, :, material.active] for _, latents, _ in blocks])
