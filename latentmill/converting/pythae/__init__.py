"""pythae's models: a saved folder, without pythae, or a live model."""

from latentmill.converting.pythae.convert import export_pythae

__all__ = ["export_pythae"]
