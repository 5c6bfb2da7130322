"""`latentmill demo`: the main job on real data, end to end, with a VAE that lies beside it."""

from latentmill.demo.run import run

__all__ = ["run"]
