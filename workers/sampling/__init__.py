"""Strategies: where the latents and the labels of row i come from."""

from workers.sampling.latents import LatentRows, LatentSource
from workers.sampling.strategies import open_strategy

__all__ = ["LatentRows", "LatentSource", "open_strategy"]
