"""Latentmill: a trained VAE in, a synthetic dataset out. `Client` talks to the service, `export_vae` makes a bundle."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentmill.client import Client
    from latentmill.export import export_vae

__all__ = ["Client", "export_vae"]
TO_COME = frozenset({"export_diffusers", "export_onnx_vae", "export_pythae", "table_rows"})
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import on first use: `export_vae` needs torch, which the plain install does not have."""
    if name == "Client":
        from latentmill.client import Client

        return Client
    if name == "export_vae":
        from latentmill.export import export_vae

        return export_vae
    if name in TO_COME:
        from latentmill.errors import NotYet

        raise NotYet(f"latentmill.{name} is not part of this release.")
    raise AttributeError(f"module 'latentmill' has no attribute {name!r}")
