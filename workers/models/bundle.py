"""A bundle, opened: every claim that can be checked without running the model has been checked."""

import json
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from latentmill.errors import FieldError, InvalidBundle
from latentmill.specs import VaeManifest
from workers.models.archive import GRAPHS, MANIFEST, PRIOR, WEIGHTS, read_members
from workers.models.limits import DEFAULT_LIMITS, BundleLimits
from workers.models.prior import Parameters, check_prior
from workers.models.tensors import read_tensors

_NAMES_AT_MOST = 1_000


@dataclass(frozen=True)
class Bundle:
    """What a bundle holds: the manifest, the weights by name (float32), the learned prior's parameters (float64).

    With the engine onnx there are no weights but `graphs`: ONNX as it was uploaded, of "decoder" and perhaps "encoder".
    """

    manifest: VaeManifest
    tensors: dict[str, torch.Tensor]
    prior: Parameters
    limits: BundleLimits
    graphs: dict[str, bytes] = field(default_factory=dict)


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
    check_engine(manifest, members)
    weights = {}
    if WEIGHTS in members:
        weights = read_tensors(members[WEIGHTS], WEIGHTS, dtypes=("F32", "F16", "BF16"), limits=limits)
    learned = read_tensors(members[PRIOR], PRIOR, dtypes=("F32", "F64"), limits=limits) if PRIOR in members else None
    tensors = {name: tensor.float() for name, tensor in weights.items()}
    graphs = {part: bytes(members[name]) for part, name in GRAPHS.items() if name in members}
    return Bundle(manifest, tensors, check_prior(manifest, learned), limits, graphs)


def parse_manifest(text: bytes) -> VaeManifest:
    """`vae.json` as a manifest. Raises InvalidBundle with a pointer to each wrong field."""
    try:
        value = json.loads(text, object_pairs_hook=_unique_names, parse_constant=_refuse_constant)
        _refuse_halves(value)
    except (ValueError, RecursionError) as error:
        raise InvalidBundle(f"{MANIFEST} is not JSON: {error}.") from error
    try:
        return VaeManifest.model_validate(value)
    except ValidationError as error:
        errors = [
            FieldError(pointer="/" + "/".join(str(part) for part in fault["loc"]), message=fault["msg"])
            for fault in error.errors(include_url=False, include_input=False)[:20]
        ]
        first = errors[0]
        raise InvalidBundle(f"{MANIFEST} is wrong at {first.pointer}: {first.message}.", errors=errors) from error


def check_engine(manifest: VaeManifest, members: Container[str]) -> None:
    """The members are those of the engine that the manifest names. Raises InvalidBundle."""
    holds_graphs = GRAPHS["decoder"] in members
    if (manifest.engine == "onnx") != holds_graphs:
        found = GRAPHS["decoder"] if holds_graphs else WEIGHTS
        raise InvalidBundle(
            f"The engine is {manifest.engine}, but the bundle holds {found}: weights go with the engine torch, graphs "
            "with the engine onnx.",
            pointer="/engine",
        )
    if holds_graphs and (manifest.encoder is None) != (GRAPHS["encoder"] not in members):
        raise InvalidBundle(
            f"The field encoder and {GRAPHS['encoder']} go together: leave out both for a decoder alone.",
            pointer="/encoder",
        )


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
