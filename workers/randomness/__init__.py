"""Counter-based noise: row i depends on (seed, stream, i) and on nothing else."""
