"""Held-out density: how many nats the decoder's ELBO gains when a density takes the prior's place."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import DataError
from workers.posteriors.density import Density
from workers.posteriors.draws import repeated_draws
from workers.posteriors.empirical import EmpiricalDensity
from workers.posteriors.encoding import Encoding
from workers.posteriors.estimate import Estimate, grouped_mean
from workers.posteriors.gaussian import LOG_2PI
from workers.posteriors.labelled import LabelledDensity
from workers.randomness.streams import Stream

DRAWS_PER_ROW = 4
MAX_COST = 10**10  # draws x components x (D + 8): a few seconds on one core
EXPONENTIAL_COST = 8  # what an exponential costs, in products

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


def row_log_densities(
    densities: Sequence[Density],
    encoding: Encoding,
    rows: Rows,
    *,
    seed: int,
    stream: Stream,
    check: Callable[[], None],
    given_labels: bool = False,
) -> list[Floats]:
    """l_i = mean over 4 draws z of q(z|x_i) of ln f(z), (n,), for each density f: the same draws for all of them.

    With `given_labels`, as for a conditional model, a density by label is scored as f(z|y) with the row's own label.
    NaN beyond the rows that a density is scored on (`scored_rows`): the first of the split's order are a fair sample.
    """
    scores = [np.full(len(rows), np.nan) for _ in densities]
    limits = [scored_rows(density, len(rows)) for density in densities]
    blocks = repeated_draws(encoding, rows, seed=seed, stream=stream, copies=DRAWS_PER_ROW)
    for block, latents, _ in blocks:
        for score, density, limit in zip(scores, densities, limits, strict=True):
            check()
            part = slice(block.start, min(block.stop, limit))
            if part.stop > part.start:
                labels = labels_in(density, encoding, rows[part]) if given_labels else None
                score[part] = _mean_log_density(density, latents[: part.stop - part.start], labels)
    return scores


def scored_rows(density: Density, rows: int) -> int:
    """How many of `rows` rows, the first ones, a density is scored on: all, but for very many components."""
    cost = DRAWS_PER_ROW * sum(
        part.components * (part.latent_size + EXPONENTIAL_COST)
        for part in (density.parts if isinstance(density, LabelledDensity) else [density])
        if isinstance(part, EmpiricalDensity)
    )
    return rows if cost == 0 else min(rows, max(1, MAX_COST // cost))


def _mean_log_density(density: Density, latents: Floats, labels: Rows | None) -> Floats:
    """Mean over the draws of each row, (n,), for latents (n, 4, D)."""
    flat = latents.reshape(-1, latents.shape[2])
    if labels is not None and isinstance(density, LabelledDensity):
        values = density.log_density_given(flat, labels.repeat(latents.shape[1]))
    else:
        values = density.log_density(flat)
    means: Floats = values.reshape(len(latents), -1).mean(axis=1)
    return means


def labels_in(density: Density, encoding: Encoding, rows: Rows) -> Rows | None:
    """The labels of `rows` as numbers into the classes of a density by label, (n,); classes are matched by their text.

    None for any other density.
    """
    if not isinstance(density, LabelledDensity):
        return None
    if encoding.labels is None or encoding.classes is None:
        raise ValueError("the encoding has no named labels")
    numbers = {name: number for number, name in enumerate(density.classes)}
    table = np.array([numbers.get(name, -1) for name in encoding.classes], dtype=np.int64)
    found: Rows = table[np.asarray(encoding.labels[rows])]
    if np.any(found < 0):
        name = encoding.classes[int(encoding.labels[rows[int(np.argmin(found))]])]
        raise DataError(f"The fit has no label {name!r}.", pointer="/dataset")
    return found


def paired_gain(scores: Floats, baseline: Floats, groups: NDArray[np.int64]) -> Estimate:
    """mean_i (l_f,i - l_p,i), with its error over groups of identical rows."""
    return grouped_mean(scores - baseline, groups)


def rate_by_draws(
    encoding: Encoding, rows: Rows, prior: Density, groups: NDArray[np.int64], *, seed: int, check: Callable[[], None]
) -> Estimate:
    """R = mean over `rows` of KL(q(z|x) || p), by 4 draws of ln q(z|x) - ln p(z) each: for priors of any form."""
    rates = np.empty(len(rows))
    blocks = repeated_draws(encoding, rows, seed=seed, stream=Stream.RATE_DRAWS, copies=DRAWS_PER_ROW)
    for block, latents, noise in blocks:
        check()
        log_std = np.log(np.asarray(encoding.std[rows[block]], dtype=np.float64)).sum(axis=1)
        entropy = -0.5 * np.einsum("ijk,ijk->ij", noise, noise) - 0.5 * encoding.latent_size * LOG_2PI
        log_prior = prior.log_density(latents.reshape(-1, encoding.latent_size)).reshape(-1, DRAWS_PER_ROW)
        rates[block] = (entropy - log_prior).mean(axis=1) - log_std
    return grouped_mean(rates, groups)
