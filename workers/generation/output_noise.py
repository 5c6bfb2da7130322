"""The noise that rows are drawn with, for any range of rows: whole blocks, cast once and cut."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workers.randomness.noise import block_rows, normal_block, wide_uniform_block
from workers.randomness.streams import Stream

NoiseKind = Literal["normals", "uniforms"]

_FLOAT32_DIGITS = np.uint64(2**64 - 2**29)  # a float64 without the 29 digits that float32 has not


class OutputNoise:
    """`width` numbers per row from the stream of output noise, all normals or all uniforms."""

    def __init__(self, seed: int, kind: NoiseKind, width: int) -> None:
        self.seed, self.kind, self.width = seed, kind, width
        self._block_rows = block_rows(width)
        self._last: tuple[int, NDArray[np.float32]] | None = None  # batches come in order

    def of_rows(self, first_row: int, rows: int) -> NDArray[np.float32]:
        """Rows first_row to first_row + rows, (rows, width), in an array of their own."""
        noise = np.empty((rows, self.width), dtype=np.float32)
        done = 0
        while done < rows:
            number, offset = divmod(first_row + done, self._block_rows)
            count = min(rows - done, self._block_rows - offset)
            noise[done : done + count] = self._block(number)[offset : offset + count]
            done += count
        return noise

    def _block(self, number: int) -> NDArray[np.float32]:
        if self._last is None or self._last[0] != number:
            if self.kind == "normals":
                block = normal_block(self.seed, Stream.OUTPUT, number, self.width).astype(np.float32)
            else:
                block = rounded_down(wide_uniform_block(self.seed, Stream.OUTPUT, number, self.width))
            self._last = (number, block)
        return self._last[1]


def rounded_down(uniforms: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 at or below each uniform, in [0, 1): u < p is then the same for every float32 p.

    Rounded to nearest, a uniform just below 1 would become 1, and a pixel with p = 1 would once in a while be black.
    """
    bits = uniforms.view(np.uint64)
    return (bits & _FLOAT32_DIGITS).view(np.float64).astype(np.float32)
