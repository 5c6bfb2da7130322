"""Latentmill: a trained VAE in, a synthetic dataset out. `Client` talks to the service, `export_vae` makes a bundle."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentmill.client import Client
    from latentmill.converting.diffusers import export_diffusers
    from latentmill.converting.pythae import export_pythae
    from latentmill.export import export_vae
    from latentmill.exporting.onnx_vae import export_onnx_vae
    from latentmill.exporting.untrained import untrained_vae
    from latentmill.tables.table import table_rows
    from latentmill.windows import series_windows

__all__ = [
    "Client",
    "export_diffusers",
    "export_onnx_vae",
    "export_pythae",
    "export_vae",
    "series_windows",
    "table_rows",
    "untrained_vae",
]
PLACES = {
    "Client": "latentmill.client",
    "export_diffusers": "latentmill.converting.diffusers",
    "export_onnx_vae": "latentmill.exporting.onnx_vae",
    "export_pythae": "latentmill.converting.pythae",
    "export_vae": "latentmill.export",
    "series_windows": "latentmill.windows",
    "table_rows": "latentmill.tables.table",
    "untrained_vae": "latentmill.exporting.untrained",
}
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import on first use: `export_vae` needs torch, which the plain install does not have."""
    if name in PLACES:
        return getattr(import_module(PLACES[name]), name)
    raise AttributeError(f"module 'latentmill' has no attribute {name!r}")
