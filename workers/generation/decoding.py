"""Latents through the decoder, and the rows back to the host: the one stage that uses the device."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentmill.errors import DataError, OutOfMemory
from workers.devices import is_out_of_memory
from workers.generation.latents import LatentBatch
from workers.generation.likelihoods import Likelihood
from workers.models import Vae
from workers.rows import RowCodec


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """A decoded batch that may still be on its way from the device."""

    latents: LatentBatch
    compacted: torch.Tensor  # (B, *shape), in what the codec keeps of a row
    largest: torch.Tensor  # (B,) absolute value of each row: NaN or Inf where one of its values is
    arrived: torch.cuda.Event | None
    probable: torch.Tensor | None = None  # (B,) whether a row was drawn from what can be probabilities

    def rows(self) -> NDArray[Any]:
        """The rows that belong to the shard, compacted; a row that is not finite is refused by its number."""
        if self.arrived is not None:
            self.arrived.synchronize()
        wanted = self.latents.wanted
        finite = np.isfinite(self.largest[wanted].numpy())
        if not finite.all():
            row = self.latents.first_row + wanted.start + int(np.argmin(finite))
            raise DataError(f"The decoder gave NaN or Inf in row {row:,}")
        if self.probable is not None and not (probable := self.probable[wanted].numpy()).all():
            row = self.latents.first_row + wanted.start + int(np.argmin(probable))
            raise DataError(
                f"The decoder gave what are no probabilities in row {row:,}, so no row can be drawn. If it returns "
                'logits, end it with a Sigmoid or a Softmax and export it again; or ask for output "mean".',
                pointer="/output",
            )
        return self.compacted[wanted].numpy()


@torch.inference_mode()
def decode(vae: Vae, codec: RowCodec, batch: LatentBatch, likelihood: Likelihood | None = None) -> DecodedBatch:
    """Decodes a whole batch: means, or rows drawn from the `likelihood` with the batch's noise.

    On a GPU this returns before the rows have arrived, so the next batch can follow.
    """
    with device_errors("decoder", batch.first_row, len(batch.latents)):
        latents = on_device(batch.latents, vae.device)
        labels = None
        if batch.labels is not None and vae.manifest.labels is not None:
            labels = on_device(batch.labels, vae.device)
        probable = None
        if likelihood is None or batch.noise is None:
            rows = vae.decode(latents, labels)
            largest = _largest(rows)
        else:
            mean, std = vae.decode_with_std(latents, labels)
            rows, probable = likelihood.draw(mean, std, on_device(batch.noise, vae.device))
            largest = _largest(rows if probable is None else mean)
        compacted = codec.compact(rows)
        if vae.device.type == "cpu":
            return DecodedBatch(batch, compacted, largest, None, probable)
        compacted, largest = _leaving(compacted), _leaving(largest)
        probable = None if probable is None else _leaving(probable)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record()
        return DecodedBatch(batch, compacted, largest, arrived, probable)


def _largest(values: torch.Tensor) -> torch.Tensor:
    return values.flatten(1).abs().amax(1)


def on_device(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """`array` on `device`; on a GPU by way of pinned memory, so that the copy does not wait."""
    tensor = torch.from_numpy(array)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def _leaving(tensor: torch.Tensor) -> torch.Tensor:
    """A pinned copy on the host, under way: only pinned memory is copied while the device works on."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)


@contextmanager
def device_errors(network: str, first_row: int, rows: int) -> Iterator[None]:
    """What torch raises while `network` works on rows becomes OutOfMemory or DataError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        where = f"on rows {first_row:,} to {first_row + rows - 1:,}"
        if is_out_of_memory(error):
            raise OutOfMemory(
                f"The {network} ran out of memory {where}; ask for a smaller execution.batch_rows"
            ) from error
        raise DataError(f"The {network} failed {where}: {error}") from error
