"""Fills the exhibits of a report: what q(z) looks like beside the prior, and what the decoder makes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from workers.models import Vae
from workers.posteriors.density import Density
from workers.posteriors.draws import repeated_draws
from workers.posteriors.prior import is_standard_normal
from workers.randomness.noise import normals, uniforms
from workers.randomness.streams import Stream
from workers.reporting.exhibits import Exhibits, Gallery, Histogram, Projection, Strip
from workers.reporting.ground import Ground
from workers.reporting.rows import RowFindings
from workers.reporting.samples import decoded
from workers.reporting.subject import Rows, Subject
from workers.rows import RowBatch

Floats = NDArray[np.float64]

SHOWN_DRAWS = 20_000
SHOWN_VALUES = 2**23  # fewer draws of wide latents: 64 MiB
PROJECTED = 1_500
BINS = 48
WORST = 8
STRIP_VALUES = 13
STRIPS = 2
SHOWN_ROWS = 16
CENTRAL = (1.0, 99.0)  # percentiles between which the data lie


def shown_draws(subject: Subject, rows: Rows, *, seed: int) -> Floats:
    """One draw of q(z|x) around up to 20,000 of `rows`, (n, D): q(z) to look at."""
    size = subject.encoding.latent_size
    numbers = rows[: max(2, min(SHOWN_DRAWS, SHOWN_VALUES // size))]
    found = np.empty((len(numbers), size))
    blocks = repeated_draws(subject.encoding, numbers, seed=seed, stream=Stream.REPORT_SHOWN, copies=1)
    for block, latents, _ in blocks:
        found[block] = latents[:, 0]
    return found


def prior_draws(prior: Density, rows: int, *, seed: int) -> Floats:
    """Draws of the prior (rows, D) to look at."""
    noise = normals(seed, Stream.REPORT_PRIOR, 0, rows, prior.latent_size)
    choices = uniforms(seed, Stream.REPORT_CHOICES, 0, rows) if prior.needs_choice else None
    return prior.draw(noise, choices)


def histograms(
    draws: Floats, prior: Density | None, worst: Sequence[int], marginal_kl: Sequence[float | None], *, seed: int
) -> tuple[Histogram, ...]:
    """q(z_j) of the dimensions `worst`, over bins that hold 99.8 % of both densities."""
    beside = prior_draws(prior, len(draws), seed=seed) if prior is not None else None
    found = []
    for dimension in worst:
        both = draws[:, dimension] if beside is None else np.concatenate([draws[:, dimension], beside[:, dimension]])
        low, high = np.percentile(both, [0.1, 99.9])
        edges = np.linspace(low, high, BINS + 1)
        if not edges[-1] > edges[0]:
            continue
        density = None
        if prior is not None and beside is not None:
            density = _normal_bins(edges) if is_standard_normal(prior) else _bins(beside[:, dimension], edges)
        found.append(Histogram(dimension, edges, _bins(draws[:, dimension], edges), density, marginal_kl[dimension]))
    return tuple(found)


def strip(vae: Vae, draws: Floats, dimension: int, label: int | None, *, batch_rows: int) -> Strip:
    """Rows decoded along one dimension, -3 to 3 or as far as the data lie; the others stay at the mean of q(z)."""
    low, high = np.percentile(draws[:, dimension], CENTRAL)
    reach = max(3.0, abs(float(low)), abs(float(high)))
    values = np.linspace(-reach, reach, STRIP_VALUES)
    latents = np.tile(draws.mean(axis=0), (STRIP_VALUES, 1))
    latents[:, dimension] = values
    labels = None if label is None else np.full(STRIP_VALUES, label, dtype=np.int64)
    rows = decoded(vae, latents.astype(np.float32), labels, batch_rows=batch_rows)
    found = Strip(dimension, values, rows, (float(low), float(high)))
    if label is None or vae.manifest.labels is None:
        return found
    return replace(found, held_at=f"the mean of the latents, and the label is {vae.manifest.labels.classes[label]}")


def projection(draws: Floats, prior: Density | None, *, seed: int) -> Projection | None:
    """q(z) and the prior on the two principal axes of q(z) along which q differs most from N(0, I).

    An axis with mean m and variance v differs by 1/2 (v + m^2 - 1 - ln v) nats.
    """
    size = draws.shape[1]
    if size < 2:
        return None
    mean = draws.mean(axis=0)
    if size <= 512:
        variances, axes = np.linalg.eigh(np.cov(draws.T))
        names = [f"principal axis {size - place}" for place in range(size)]
    else:
        variances, axes = draws.var(axis=0), None
        names = [f"dimension {place}" for place in range(size)]
    variances = np.maximum(variances, 1e-12)
    shift = mean if axes is None else mean @ axes
    nats = 0.5 * (variances + shift**2 - 1 - np.log(variances))
    two = np.argsort(-nats, kind="stable")[:2]

    def on_axes(points: Floats) -> Floats:
        found: Floats = points[:PROJECTED, two] if axes is None else points[:PROJECTED] @ axes[:, two]
        return found

    beside = on_axes(prior_draws(prior, PROJECTED, seed=seed)) if prior is not None else None
    total = float(variances.sum())
    first, second = (f"{names[place]}, {100 * variances[place] / total:.0f} % of the variance" for place in two)
    return Projection(on_axes(draws), beside, (first, second))


def _bins(values: Floats, edges: Floats) -> Floats:
    """Density in each bin, of all values and not only of those within the edges."""
    found: Floats = np.histogram(values, edges)[0] / (len(values) * np.diff(edges))
    return found


def _normal_bins(edges: Floats) -> Floats:
    found: Floats = np.diff(ndtr(edges)) / np.diff(edges)
    return found


def exhibits_of(
    ground: Ground,
    prior: Density | None,
    mismatch: Mapping[str, Any],
    found: RowFindings | None,
    *,
    seed: int,
    batch_rows: int,
) -> Exhibits:
    """Everything that the page shows beside the numbers."""
    subject = ground.subject
    draws = shown_draws(subject, ground.split.training, seed=seed)
    dimensions = mismatch["per_dimension"]
    apart = [entry.get("marginal_kl") for entry in dimensions]
    worst = _worst(draws, apart)
    labels = ground.judge.model_labels(ground.judging[:1])
    label = None if labels is None else int(labels[0])
    strips = [strip(subject.vae, draws, dimension, label, batch_rows=batch_rows) for dimension in worst[:STRIPS]]
    return Exhibits(
        rows=subject.vae.manifest.rows,
        histograms=histograms(draws, prior, worst[:WORST], apart, seed=seed),
        strips=tuple(strips),
        projection=projection(draws, prior, seed=seed),
        galleries=() if found is None else _galleries(subject.vae, found),
    )


def _worst(draws: Floats, apart: Sequence[float | None]) -> list[int]:
    """Dimensions by how far q(z_j) lies from the prior; without one, by how far it lies from N(0, 1)."""
    if all(value is None for value in apart):
        mean, variance = draws.mean(axis=0), np.maximum(draws.var(axis=0), 1e-12)
        nats = 0.5 * (variance + mean**2 - 1 - np.log(variance))
    else:
        nats = np.array([-np.inf if value is None else value for value in apart])
    return [int(place) for place in np.argsort(-nats, kind="stable")]


def _galleries(vae: Vae, found: RowFindings) -> tuple[Gallery, ...]:
    def gallery(name: str, kind: str, rows: RowBatch, labels: NDArray[np.int64] | None) -> Gallery:
        classes = None
        if labels is not None and vae.manifest.labels is not None:
            classes = tuple(vae.manifest.labels.classes[number] for number in labels[:SHOWN_ROWS])
        return Gallery(name, kind, rows.cut(0, SHOWN_ROWS), classes)

    labels = found.reference.labels
    shown = [] if found.real is None else [gallery("real rows", "real", found.real, labels)]
    shown.append(gallery("their reconstructions", "reconstructions", found.reference.rows, labels))
    shown += [gallery(name, "candidate", sample.rows, sample.labels) for name, sample in found.samples.items()]
    return tuple(shown)
