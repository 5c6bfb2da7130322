"""A keyed permutation of [0, n) that is computed for one position as cheaply as for all."""

import numpy as np
from numpy.typing import NDArray

from workers.randomness.noise import philox
from workers.randomness.streams import Stream

ROUNDS = 8
MIN_HALF_BITS = 4  # with fewer the rounds have too few values to mix


def permuted_position(seed: int, stream: Stream, n: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """pi(i) for positions i in [0, n): a balanced Feistel network on the next even number of bits, with cycle walking.

    A network permutes [0, 4^h); a value that lands beyond n is permuted again until it lands within, which is the
    permutation of [0, n) that the network induces (Black and Rogaway, 2002). Fewer than 4 rounds of it on average.
    """
    if not 0 < n < 2**62:
        raise ValueError(f"a permutation of {n} positions")
    half = max(MIN_HALF_BITS, -(-(n - 1).bit_length() // 2))
    keys = philox(seed, stream, 0).random_raw(ROUNDS)
    values = np.asarray(positions).astype(np.uint64)
    if values.size and int(values.max()) >= n:
        raise ValueError(f"position {values.max()} of {n}")
    values = _network(values, half, keys)
    outside = np.flatnonzero(values >= n)
    while outside.size:
        values[outside] = _network(values[outside], half, keys)
        outside = outside[values[outside] >= n]
    return values.astype(np.int64)


def _network(values: NDArray[np.uint64], half: int, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    shift, mask = np.uint64(half), np.uint64(2**half - 1)
    left, right = values >> shift, values & mask
    for key in keys:
        left, right = right, left ^ (_mixed(right ^ key) & mask)
    return (left << shift) | right


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea and Flood, 2014): every bit depends on all of the input."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
