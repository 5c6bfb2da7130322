"""Samples of n rows, as a job would deliver them: of candidates, and of posteriors around real rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.generation.decoding import decode
from workers.generation.latents import LatentBatch
from workers.models import Vae
from workers.posteriors.draws import repeated_draws
from workers.randomness.streams import Stream
from workers.reporting.subject import Rows, Subject
from workers.rows import RowBatch, codec
from workers.sampling.latents import LatentSource


@dataclass(frozen=True, eq=False)
class Sample:
    """n rows and the latents (n, D) float32 that they were decoded from; labels (n,) as classes of the model."""

    latents: NDArray[np.float32]
    rows: RowBatch
    labels: NDArray[np.int64] | None


def around(subject: Subject, numbers: Rows, *, seed: int, stream: Stream, batch_rows: int) -> Sample:
    """decode(z ~ q(z|x)) for the named rows x: what the decoder makes of latents that are right."""
    latents = np.empty((len(numbers), subject.encoding.latent_size), dtype=np.float32)
    for block, drawn, _ in repeated_draws(subject.encoding, numbers, seed=seed, stream=stream, copies=1):
        latents[block] = drawn[:, 0]
    labels = subject.model_labels(numbers)
    return Sample(latents, decoded(subject.vae, latents, labels, batch_rows=batch_rows), labels)


def of_strategy(vae: Vae, source: LatentSource, rows: int, *, batch_rows: int) -> Sample:
    """The first `rows` rows of a strategy."""
    drawn = source.latents(0, rows)
    return Sample(drawn.latents, decoded(vae, drawn.latents, drawn.labels, batch_rows=batch_rows), drawn.labels)


def decoded(vae: Vae, latents: NDArray[np.float32], labels: NDArray[np.int64] | None, *, batch_rows: int) -> RowBatch:
    """Latents (n, D) as typed rows: the means of the decoder."""
    rows = codec(vae.manifest.rows)
    parts = []
    for first in range(0, len(latents), batch_rows):
        part = slice(first, min(first + batch_rows, len(latents)))
        own = None if labels is None else labels[part]
        batch = LatentBatch(first, latents[part], own, slice(0, part.stop - first))
        parts.append(rows.columns(decode(vae, rows, batch).rows()))
    return RowBatch.joined(parts)
