"""A few rows at once: each decoded in its whole batch of the job, so that it has the bits that it has in a shard."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from workers.generation.decoding import decode
from workers.generation.latents import latent_batches
from workers.generation.likelihoods import open_likelihood
from workers.generation.pipeline import ShardPlan, schema_of, shard_batches
from workers.models import Vae
from workers.rows import RowBatch, codec
from workers.sampling.latents import LatentSource
from workers.shards import ShardBatch, ShardSchema


def preview_rows(
    vae: Vae, source: LatentSource, plan: ShardPlan, indices: Sequence[int], *, check: Callable[[], None]
) -> tuple[ShardSchema, ShardBatch]:
    """The rows with these numbers, in their order; at least one.

    Of `plan` all counts but the range of rows and the format. `check` is called before each batch and may raise.
    """
    row_codec, schema = codec(vae.manifest.rows), schema_of(vae, plan)
    likelihood = open_likelihood(vae, plan.output, plan.seed)
    noise = likelihood.noise if likelihood is not None else None
    rows: dict[int, ShardBatch] = {}
    # One BLAS thread: a product cut between threads has other bits, and latents must not depend on the machine.
    with threadpool_limits(1, "blas"):
        for first, last in _spans(indices, plan.batch_rows):
            check()
            (batch,) = latent_batches(
                source, first_row=first, rows=last - first + 1, batch_rows=plan.batch_rows, noise=noise
            )
            decoded = decode(vae, row_codec, batch, likelihood)
            (decoded_rows,) = shard_batches(row_codec, schema, [decoded])
            # Copies of the wanted rows alone: the rest of the batch need not stay in memory.
            wanted = {index for index in indices if first <= index <= last}
            rows |= {index: _joined([decoded_rows.cut(index - first, index - first + 1)]) for index in wanted}
    return schema, _joined([rows[index] for index in indices])


def _spans(indices: Sequence[int], batch_rows: int) -> Iterator[tuple[int, int]]:
    """The lowest and the highest of the indices in each batch of the job's grid."""
    numbers: dict[int, list[int]] = {}
    for index in sorted(indices):
        numbers.setdefault(index // batch_rows, []).append(index)
    for inside in numbers.values():
        yield inside[0], inside[-1]


def _joined(batches: Sequence[ShardBatch]) -> ShardBatch:
    beside = {name: np.concatenate([batch.beside[name] for batch in batches]) for name in batches[0].beside}
    return ShardBatch(RowBatch.joined([batch.rows for batch in batches]), beside)
