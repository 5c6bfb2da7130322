"""Noise by block: block b of stream s under a seed is one call of Philox at a counter that no other block reaches."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from workers.randomness.streams import Stream

Floats = NDArray[np.float64]

BLOCK_ROWS = 1024
MAX_BLOCK_VALUES = 2**22  # 32 MiB in float64: output noise of wide rows comes in shorter blocks


def block_rows(width: int) -> int:
    """R: rows of a block of `width` numbers per row; 1,024, halved until R * width <= 2^22. The width alone decides."""
    rows = BLOCK_ROWS
    while rows > 1 and rows * width > MAX_BLOCK_VALUES:
        rows //= 2
    return rows


def philox(seed: int, stream: Stream, block: int, attempt: int = 0) -> np.random.Philox:
    """The bit generator of one block.

    The block number stands in the highest counter word. Philox advances the lowest: with the number there, block b + 1
    would be block b shifted by four words. Arrays, because a list of large integers is cast through float.
    """
    key = np.array([seed, int(stream)], dtype=np.uint64)
    counter = np.array([0, attempt, 0, block], dtype=np.uint64)
    return np.random.Philox(key=key, counter=counter)


def block_generator(seed: int, stream: Stream, block: int, attempt: int = 0) -> np.random.Generator:
    """The generator of one block; take one array of one kind from it and no more."""
    return np.random.Generator(philox(seed, stream, block, attempt))


def normal_block(seed: int, stream: Stream, block: int, width: int) -> Floats:
    """Block `block` of standard normals, (R, width)."""
    return block_generator(seed, stream, block).standard_normal((block_rows(width), width), dtype=np.float64)


def uniform_block(seed: int, stream: Stream, block: int) -> Floats:
    """Block `block` of uniforms on the grid of 2^-53 in [0, 1), (1024,)."""
    return block_generator(seed, stream, block).random(BLOCK_ROWS, dtype=np.float64)


def wide_uniform_block(seed: int, stream: Stream, block: int, width: int) -> Floats:
    """Block `block` of uniforms with `width` of them per row, (R, width), on the grid of 2^-53 in [0, 1)."""
    return block_generator(seed, stream, block).random((block_rows(width), width), dtype=np.float64)


def normals(seed: int, stream: Stream, first_row: int, rows: int, width: int) -> Floats:
    """Standard normals of rows first_row to first_row + rows, (rows, width): whole blocks, then cut."""
    return _cut(lambda block: normal_block(seed, stream, block, width), block_rows(width), first_row, rows)


def uniforms(seed: int, stream: Stream, first_row: int, rows: int) -> Floats:
    """Uniforms of rows first_row to first_row + rows, (rows,): whole blocks, then cut."""
    return _cut(lambda block: uniform_block(seed, stream, block), BLOCK_ROWS, first_row, rows)


def _cut(block_of: Callable[[int], Floats], per_block: int, first_row: int, rows: int) -> Floats:
    first_block, end_block = first_row // per_block, -(-(first_row + rows) // per_block)
    parts = []
    for block in range(first_block, max(end_block, first_block + 1)):
        start = block * per_block
        parts.append(block_of(block)[max(first_row - start, 0) : max(first_row + rows - start, 0)])
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
