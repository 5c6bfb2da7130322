"""Latents by row: whole blocks of noise are turned into latents and then cut, so that borders change nothing."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from workers.randomness.noise import block_rows


@dataclass(frozen=True, eq=False)
class LatentRows:
    """latents (n, D) float32; labels (n,) numbers of the source's classes, None without labels."""

    latents: NDArray[np.float32]
    labels: NDArray[np.int64] | None


class Placement(Protocol):
    """Where the rows of a strategy lie: what it says of row i depends on i alone, given rows of a whole block."""

    def place(self, first_row: int, rows: int) -> tuple[NDArray[np.float64], NDArray[np.int64] | None]:
        """Latents (rows, D) in float64 and, where rows have labels, class numbers (rows,)."""


class LatentSource:
    """The latents of a job, for any range of rows; past the job's last row the noise simply continues.

    `classes` name the labels of its rows: the model's, or those of a fit by label; None without labels.
    """

    def __init__(self, placement: Placement, latent_size: int, classes: tuple[str, ...] | None = None) -> None:
        self.classes = classes
        self._placement = placement
        self._size = latent_size
        self._block_rows = block_rows(latent_size)
        self._last: tuple[int, LatentRows] | None = None  # batches are smaller than blocks and come in order

    def latents(self, first_row: int, rows: int) -> LatentRows:
        """Rows first_row to first_row + rows, cut from whole blocks: a product over fewer rows differs in bits."""
        latents = np.empty((rows, self._size), dtype=np.float32)
        labels: NDArray[np.int64] | None = None
        done = 0
        while done < rows:
            number, offset = divmod(first_row + done, self._block_rows)
            block = self._block(number)
            count = min(rows - done, self._block_rows - offset)
            latents[done : done + count] = block.latents[offset : offset + count]
            if block.labels is not None:
                labels = np.empty(rows, dtype=np.int64) if labels is None else labels
                labels[done : done + count] = block.labels[offset : offset + count]
            done += count
        return LatentRows(latents, labels)

    def _block(self, number: int) -> LatentRows:
        if self._last is None or self._last[0] != number:
            latents, labels = self._placement.place(number * self._block_rows, self._block_rows)
            self._last = (number, LatentRows(latents.astype(np.float32), labels))
        return self._last[1]
