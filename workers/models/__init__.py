"""Bundles: a file that a stranger uploaded, opened as a `Vae` that encodes and decodes."""

from workers.models.bundle import Bundle, open_bundle
from workers.models.limits import DEFAULT_LIMITS, BundleLimits
from workers.models.vae import TorchVae, Vae, load_vae

__all__ = ["DEFAULT_LIMITS", "Bundle", "BundleLimits", "TorchVae", "Vae", "load_vae", "open_bundle"]
