"""A folder that diffusers saved: its configuration, and its weights in safetensors. Pickles are never opened."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from latentmill.converting.diffusers.classes import check_class
from latentmill.errors import InvalidBundle, NotFound

CONFIG, PIPELINE = "config.json", "model_index.json"
_STEM = "diffusion_pytorch_model"
_FORMER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # attention, before diffusers 0.17


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of an AutoencoderKL. Raises NotFound without one, InvalidBundle for another class."""
    path = folder / CONFIG
    if not path.is_file():
        raise NotFound(f"{folder} has no {CONFIG}{_way_out(folder)}.")
    config = _json(path)
    check_class(config.get("_class_name"), str(folder))
    return config


def read_weights(folder: Path, variant: str | None) -> dict[str, Tensor]:
    """The tensors of the folder by name, in one file or in those that an index lists, as they are stored."""
    single, index = _names(variant)
    if (folder / index).is_file():
        named = _json(folder / index).get("weight_map")
        if not isinstance(named, dict) or not all(_is_plain(name) for name in named.values()):
            raise InvalidBundle(f"{folder / index} has no weight_map of files beside it.")
        files = sorted(set(named.values()))
    elif (folder / single).is_file():
        files = [single]
    else:
        raise _missing(folder, single)
    weights: dict[str, Tensor] = {}
    for name in files:
        weights |= _load(folder / name)
    return {_present_name(name): value for name, value in weights.items()}


def _way_out(folder: Path) -> str:
    inner = sorted(path.parent for path in folder.glob(f"*/{CONFIG}") if _names_autoencoder(path))
    if inner:
        kind = "is a pipeline" if (folder / PIPELINE).is_file() else "is not the autoencoder's"
        return f": it {kind}. Its autoencoder is in {inner[0].name}: give {inner[0]}, or subfolder={inner[0].name!r}"
    return ": give the folder of diffusers' vae.save_pretrained(folder)"


def _names_autoencoder(path: Path) -> bool:
    return "Autoencoder" in str(_json(path).get("_class_name"))


def _names(variant: str | None) -> tuple[str, str]:
    """The file of all weights, and the index of several, as diffusers calls them."""
    said = f".{variant}" if variant else ""
    return f"{_STEM}{said}.safetensors", f"{_STEM}.safetensors.index{said}.json"


def _missing(folder: Path, single: str) -> NotFound | InvalidBundle:
    variants = sorted(
        path.name.split(".")[1] for path in folder.glob(f"{_STEM}.*.safetensors") if "-of-" not in path.name
    )
    if variants:
        return NotFound(f"{folder} has no {single}, but the variant {variants[0]!r}: give variant={variants[0]!r}.")
    if pickled := sorted(folder.glob("*.bin")):
        return InvalidBundle(
            f"{folder} has {pickled[0].name}, a pickle, which is not opened: it may run anything. Write its weights as "
            "safetensors, if you trust it: AutoencoderKL.from_pretrained(folder).save_pretrained(other, "
            "safe_serialization=True)."
        )
    return NotFound(f"{folder} has no {single}: give the folder of diffusers' vae.save_pretrained(folder).")


def _load(path: Path) -> dict[str, Tensor]:
    try:
        loaded: dict[str, Tensor] = load_file(path)
    except FileNotFoundError as error:
        raise NotFound(f"{path} is not there, though the index of {path.parent} lists it.") from error
    except SafetensorError as error:
        raise InvalidBundle(f"{path} is not a file of safetensors: {error}.") from error
    return loaded


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise InvalidBundle(f"{path} is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise InvalidBundle(f"{path} holds no object.")
    return value


def _is_plain(name: object) -> bool:
    """A name of a file beside the index, never a path that leads elsewhere."""
    return isinstance(name, str) and Path(name).name == name


def _present_name(name: str) -> str:
    parts = name.split(".")
    if "attentions" in parts and parts[-2] in _FORMER:
        parts[-2] = _FORMER[parts[-2]]
    return ".".join(parts)
