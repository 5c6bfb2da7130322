"""From noise to a finished file: this is how a shard is made.

    noise -> latents      a thread, a few batches ahead        latents.py, output_noise.py
    latents -> rows       here, on the device                  decoding.py, likelihoods.py
    rows -> bytes         a thread, a few batches behind       workers/rows, workers/shards

Between them lie conveyors of a few batches, so memory does not grow with the shard, and whatever ends one of the
three ends them all.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from latentmill.errors import Internal
from workers.generation.conveyor import Conveyor
from workers.generation.decoding import DecodedBatch, decode
from workers.generation.latents import LatentBatch, latent_batches
from workers.generation.likelihoods import open_likelihood
from workers.generation.output_noise import OutputNoise
from workers.models import Vae
from workers.rows import RowCodec, codec
from workers.sampling.latents import LatentSource
from workers.shards import ShardBatch, ShardSchema, WrittenShard, write_shard

DEPTH = 2  # batches that wait between two stages
NOISE_BYTES = 128 * 2**20  # that wait before the device, where one batch alone has not more


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """Which rows of the job a shard holds, and how it holds them. `classes` names the labels, if rows have any."""

    first_row: int
    rows: int
    batch_rows: int
    format: str
    include_latents: bool = False
    output: Literal["mean", "sample"] = "mean"
    classes: tuple[str, ...] | None = None
    seed: int = 0  # of the job: what rows are drawn with where the output is "sample"


def generate_shard(
    vae: Vae, source: LatentSource, plan: ShardPlan, out_path: Path, *, check: Callable[[], None]
) -> WrittenShard:
    """Writes the shard to `out_path`. `check` is called before each batch and may raise to stop."""
    rows = codec(vae.manifest.rows)
    likelihood = open_likelihood(vae, plan.output, plan.seed)
    noise = likelihood.noise if likelihood is not None else None
    ahead: Conveyor[LatentBatch] = Conveyor(DEPTH if noise is None else _batches_within(noise, plan.batch_rows))
    behind: Conveyor[DecodedBatch] = Conveyor(DEPTH)
    latents = latent_batches(source, first_row=plan.first_row, rows=plan.rows, batch_rows=plan.batch_rows, noise=noise)
    # One BLAS thread: a product cut between threads has other bits, and latents must not depend on the machine.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(2, thread_name_prefix="shard") as threads:
        threads.submit(ahead.fill, latents)
        written = threads.submit(_write, vae, rows, plan, behind, out_path)
        with ahead.closing(), behind.closing():
            for batch in ahead:
                check()
                behind.put(decode(vae, rows, batch, likelihood))
        return written.result()


def _batches_within(noise: OutputNoise, batch_rows: int) -> int:
    """How many batches may wait for the device with their noise, which for wide rows is most of what they hold."""
    return max(1, min(DEPTH, NOISE_BYTES // (4 * noise.width * batch_rows)))


def _write(vae: Vae, rows: RowCodec, plan: ShardPlan, decoded: Conveyor[DecodedBatch], out_path: Path) -> WrittenShard:
    schema = schema_of(vae, plan)
    with decoded.closing():
        return write_shard(plan.format, out_path, schema, plan.rows, shard_batches(rows, schema, decoded))


def schema_of(vae: Vae, plan: ShardPlan) -> ShardSchema:
    """What a shard of this plan holds."""
    latent_shape = vae.manifest.latent.shape if plan.include_latents else None
    return ShardSchema.of(codec(vae.manifest.rows).fields, latent_shape=latent_shape, classes=plan.classes)


def shard_batches(rows: RowCodec, schema: ShardSchema, decoded: Iterable[DecodedBatch]) -> Iterator[ShardBatch]:
    """Decoded batches as the writer takes them, without the rows that belong to other shards."""
    for batch in decoded:
        values: dict[str, NDArray[Any] | None] = {"latents": batch.latents.latents, "labels": batch.latents.labels}
        beside = {}
        for field in schema.beside:
            array = values[field.name]
            if array is None:
                raise Internal("A shard with labels was given latents without")
            beside[field.name] = array[batch.latents.wanted].reshape(-1, *field.shape)
        yield ShardBatch(rows.columns(batch.rows()), beside)
