"""A bundle, opened: every claim that can be checked without running the model has been checked."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from latentmill.errors import FieldError, InvalidBundle
from latentmill.specs import VaeManifest
from workers.models.archive import MANIFEST, PRIOR, WEIGHTS, read_members
from workers.models.limits import DEFAULT_LIMITS, BundleLimits
from workers.models.prior import Parameters, check_prior
from workers.models.tensors import read_tensors

_NAMES_AT_MOST = 1_000


@dataclass(frozen=True)
class Bundle:
    """What a bundle holds: the manifest, the weights by name (float32), the learned prior's parameters (float64)."""

    manifest: VaeManifest
    tensors: dict[str, torch.Tensor]
    prior: Parameters
    limits: BundleLimits


def open_bundle(path: Path, *, limits: BundleLimits = DEFAULT_LIMITS, sha256: str | None = None) -> Bundle:
    """The bundle at `path`. Raises InvalidBundle, which names the part that is wrong, the bound and the way out.

    With `sha256` (hex) the file must be the one that was uploaded, and inspected, under that hash; DataError otherwise.
    """
    members = read_members(path, limits, sha256)
    manifest = parse_manifest(bytes(members[MANIFEST]))
    if manifest.latent.size > limits.latent_size:
        raise InvalidBundle(
            f"A row has {manifest.latent.size:,} latent values; at most {limits.latent_size:,} are allowed here.",
            pointer="/latent/shape",
        )
    weights = read_tensors(members[WEIGHTS], WEIGHTS, dtypes=("F32", "F16", "BF16"), limits=limits)
    learned = read_tensors(members[PRIOR], PRIOR, dtypes=("F32", "F64"), limits=limits) if PRIOR in members else None
    tensors = {name: tensor.float() for name, tensor in weights.items()}
    return Bundle(manifest, tensors, check_prior(manifest, learned), limits)


def parse_manifest(text: bytes) -> VaeManifest:
    """`vae.json` as a manifest. Raises InvalidBundle with a pointer to each wrong field."""
    try:
        value = json.loads(text, object_pairs_hook=_unique_names, parse_constant=_refuse_constant)
        _refuse_halves(value)
    except (ValueError, RecursionError) as error:
        raise InvalidBundle(f"{MANIFEST} is not JSON: {error}.") from error
    if isinstance(value, dict) and value.get("engine") == "onnx":
        raise InvalidBundle(
            "The engine onnx comes in a later release; export the modules with latentmill.export_vae, engine torch.",
            pointer="/engine",
        )
    try:
        return VaeManifest.model_validate(value)
    except ValidationError as error:
        errors = [
            FieldError(pointer="/" + "/".join(str(part) for part in fault["loc"]), message=fault["msg"])
            for fault in error.errors(include_url=False, include_input=False)[:20]
        ]
        first = errors[0]
        raise InvalidBundle(f"{MANIFEST} is wrong at {first.pointer}: {first.message}.", errors=errors) from error


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > _NAMES_AT_MOST:  # each of which would be an error of its own
        raise ValueError(f"an object has {len(pairs):,} names")
    named = dict(pairs)
    if len(named) != len(pairs):
        raise ValueError("an object has the same name twice")
    return named


def _refuse_halves(value: Any) -> None:
    r"""An escape such as \ud800 is JSON, and yet no text: nothing could be answered that holds it."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise ValueError(f"{half!r} is half of a character") from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number in JSON")
