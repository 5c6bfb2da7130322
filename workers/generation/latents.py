"""The latents of a shard, batch by batch on the job's grid."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.generation.output_noise import OutputNoise
from workers.sampling.latents import LatentSource


@dataclass(frozen=True, slots=True)
class LatentBatch:
    """Rows [first_row, first_row + B) of the job: latents (B, D) float32, labels (B,) as class numbers or None.

    Only the `wanted` of them belong to the shard. The others are decoded and dropped: a batch has the same shape and
    content wherever the shard's borders lie, and with them its rows have the same bits.
    """

    first_row: int
    latents: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    wanted: slice
    noise: NDArray[np.float32] | None = None  # (B, width): what the rows are drawn with, where they are drawn


def latent_batches(
    source: LatentSource, *, first_row: int, rows: int, batch_rows: int, noise: OutputNoise | None = None
) -> Iterator[LatentBatch]:
    """The batches that hold rows [first_row, first_row + rows): batch b of the job is rows [bB, (b+1)B)."""
    last_row = first_row + rows
    for first in range(first_row // batch_rows * batch_rows, last_row, batch_rows):
        batch = source.latents(first, batch_rows)
        wanted = slice(max(first_row - first, 0), min(last_row - first, batch_rows))
        drawn_with = None if noise is None else noise.of_rows(first, batch_rows)
        yield LatentBatch(first, batch.latents, batch.labels, wanted, drawn_with)
