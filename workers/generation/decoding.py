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
from workers.models import Vae
from workers.rows import RowCodec


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """A decoded batch that may still be on its way from the device."""

    latents: LatentBatch
    compacted: torch.Tensor  # (B, *shape), in what the codec keeps of a row
    largest: torch.Tensor  # (B,) absolute value of each row: NaN or Inf where one of its values is
    arrived: torch.cuda.Event | None

    def rows(self) -> NDArray[Any]:
        """The rows that belong to the shard, compacted; a row that is not finite is refused by its number."""
        if self.arrived is not None:
            self.arrived.synchronize()
        wanted = self.latents.wanted
        finite = np.isfinite(self.largest[wanted].numpy())
        if not finite.all():
            row = self.latents.first_row + wanted.start + int(np.argmin(finite))
            raise DataError(f"The decoder gave NaN or Inf in row {row:,}")
        return self.compacted[wanted].numpy()


@torch.inference_mode()
def decode(vae: Vae, codec: RowCodec, batch: LatentBatch) -> DecodedBatch:
    """Decodes a whole batch. On a GPU this returns before the rows have arrived, so the next batch can follow."""
    with device_errors("decoder", batch.first_row, len(batch.latents)):
        labels = None if vae.manifest.labels is None else batch.labels
        decoded = vae.decode(
            on_device(batch.latents, vae.device), None if labels is None else on_device(labels, vae.device)
        )
        largest = decoded.flatten(1).abs().amax(1)
        compacted = codec.compact(decoded)
        if vae.device.type == "cpu":
            return DecodedBatch(batch, compacted, largest, None)
        compacted, largest = _leaving(compacted), _leaving(largest)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record()
        return DecodedBatch(batch, compacted, largest, arrived)


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
