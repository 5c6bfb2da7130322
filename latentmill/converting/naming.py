"""What a bundle is called when nobody says."""

from os import PathLike
from pathlib import Path


def bundle_name(path: "str | PathLike[str]") -> str:
    """digits of out/digits.vae.zip."""
    name = Path(path).name
    return name.removesuffix(".zip").removesuffix(".vae") or name
