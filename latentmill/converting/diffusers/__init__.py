"""diffusers' AutoencoderKL, from the folder that it was saved in."""

from latentmill.converting.diffusers.convert import export_diffusers

__all__ = ["export_diffusers"]
