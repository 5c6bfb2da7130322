"""A folder that pythae saved: its configuration and its weights. The pickles beside them are never opened."""

import json
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentmill.errors import InvalidBundle, NotFound

CONFIG, WEIGHTS = "model_config.json", "model.pt"


def read_config(folder: Path) -> dict[str, Any]:
    """`model_config.json`. Raises NotFound, or InvalidBundle when it is not what pythae writes."""
    path = folder / CONFIG
    if not path.is_file():
        raise NotFound(f"{folder} has no {CONFIG}{_way_out(folder)}.")
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise InvalidBundle(f"{path} is not JSON: {error}.") from error
    if not isinstance(config, dict) or not isinstance(config.get("name"), str):
        raise InvalidBundle(f"{path} does not name a class: it is not what pythae's model.save writes.")
    return config


def class_name(config: dict[str, Any]) -> str:
    """VAE of VAEConfig, VAE_IAF of VAE_IAF_Config."""
    return str(config["name"]).removesuffix("Config").removesuffix("_")


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of `model.pt`, which torch's restricted unpickler reads: nothing in it is run."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise NotFound(f"{folder} has no {WEIGHTS}: give the folder of pythae's model.save(folder).")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InvalidBundle(
            f"{path} holds something else than tensors, and is not opened: {first}. Load it with pythae, if you trust "
            "it, and give export_pythae the model."
        ) from error
    weights = saved.get("model_state_dict") if isinstance(saved, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise InvalidBundle(f"{path} has no model_state_dict of tensors: it is not what pythae's model.save writes.")
    return weights


def _way_out(folder: Path) -> str:
    """pythae's trainers leave checkpoints and final_model in a folder of their own; the last by name is the final."""
    found = sorted([*folder.glob(f"*/{CONFIG}"), *folder.glob(f"*/*/{CONFIG}")])
    return f"; {found[-1].parent} has one" if found else ": give the folder of pythae's model.save(folder)"


def is_default(folder: Path, config: dict[str, Any], part: str) -> bool:
    """Whether the network `part` is pythae's default one, and not in a pickle."""
    return bool(config.get(f"uses_default_{part}", not (folder / f"{part}.pkl").exists()))


def refuse_pickled(folder: Path, part: str) -> InvalidBundle:
    """The error for a network of the user's own that was not given."""
    name = "MyEncoder" if part == "encoder" else "MyDecoder"
    return InvalidBundle(
        f"The {part} of {folder} is a network of your own. pythae keeps it as {part}.pkl, a pickle, which is "
        f"not opened: it may run anything. Give the network, which takes its weights from {WEIGHTS}: "
        f"export_pythae(..., {part}={name}(...)). Or load the model, if you trust the folder, and give that: "
        f"export_pythae(..., pythae.models.AutoModel.load_from_folder(folder))."
    )
