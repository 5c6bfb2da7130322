"""Draws of q(z|x): the points that mixtures learn from and that densities are judged on."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from workers.posteriors.encoding import BLOCK_VALUES, Encoding
from workers.randomness.noise import block_rows, normals
from workers.randomness.streams import Stream

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


def repeated_draws(
    encoding: Encoding, rows: Rows, *, seed: int, stream: Stream, copies: int
) -> Iterator[tuple[slice, Floats, Floats]]:
    """`copies` draws around each of `rows`, in blocks: the positions in `rows`, z (n, copies, D), and its noise.

    The noise of a draw depends on the row's position in `rows`, so every density meets the same points.
    """
    width = copies * encoding.latent_size
    step = _whole_blocks(width)
    for first in range(0, len(rows), step):
        block = slice(first, min(first + step, len(rows)))
        noise = normals(seed, stream, first, block.stop - first, width).reshape(-1, copies, encoding.latent_size)
        mean, std = posteriors_at(encoding, rows[block])
        yield block, mean[:, None, :] + std[:, None, :] * noise, noise


def training_draws(encoding: Encoding, rows: Rows, columns: Rows, count: int, *, seed: int, first: int = 0) -> Floats:
    """Draws number `first` and on, (count, len(columns)), around `rows` in turn: each copy of a row has own noise."""
    drawn = np.empty((count, len(columns)))
    step = _whole_blocks(encoding.latent_size)
    for start in range(0, count, step):
        block = np.arange(start, min(start + step, count))
        mean, std = posteriors_at(encoding, rows[(first + block) % len(rows)])
        noise = normals(seed, Stream.FIT_DRAWS, first + start, len(block), encoding.latent_size)
        drawn[block] = (mean + std * noise)[:, columns]
    return drawn


def _whole_blocks(width: int) -> int:
    """Rows of a step that computes no block of noise twice."""
    rows = block_rows(width)
    return rows * max(1, BLOCK_VALUES // (rows * width))


def posteriors_at(encoding: Encoding, rows: Rows) -> tuple[Floats, Floats]:
    """mean and std, (n, D) in float64, of the named rows, read in the order of the file."""
    order = np.argsort(rows, kind="stable")
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    mean = np.asarray(encoding.mean[rows[order]], dtype=np.float64)
    std = np.asarray(encoding.std[rows[order]], dtype=np.float64)
    return mean[back], std[back]
