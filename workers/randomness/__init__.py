"""Counter-based noise: row i depends on (seed, stream, i) and on nothing else."""

from workers.randomness.noise import (
    block_rows,
    normal_block,
    normals,
    uniform_block,
    uniforms,
    wide_uniform_block,
)
from workers.randomness.permutation import permuted_position
from workers.randomness.streams import NOISE_SCHEME, Stream

__all__ = [
    "NOISE_SCHEME",
    "Stream",
    "block_rows",
    "normal_block",
    "normals",
    "permuted_position",
    "uniform_block",
    "uniforms",
    "wide_uniform_block",
]
