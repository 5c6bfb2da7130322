"""`export_vae`: a user's own torch modules -> a bundle that holds no code."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentmill.errors import InvalidBundle, NotYet
from latentmill.exporting.installed import check_installed
from latentmill.specs import VaeManifest

if TYPE_CHECKING:
    from os import PathLike

    from torch import Tensor, nn

    from latentmill.exporting.networks import Exported


@dataclass(frozen=True)
class ExportedBundle:
    """Where the bundle is, what it says, and how far it was from the modules on the same inputs."""

    path: Path
    digest: str
    manifest: VaeManifest = field(repr=False)
    largest_difference: float
    notes: tuple[str, ...]


def export_vae(
    path: "str | PathLike[str]",
    *,
    name: str,
    encoder: "nn.Module | None",
    decoder: "nn.Module",
    rows: dict[str, Any],
    latent_shape: list[int] | tuple[int, ...] | int,
    scale: str = "log_variance",
    head: str = "pair",
    likelihood: dict[str, Any] | None = None,
    prior: dict[str, Any] | None = None,
    labels: dict[str, Any] | list[str] | None = None,
    engine: str = "auto",
    description: str = "",
    examples: Any = None,
) -> ExportedBundle:
    """Write the bundle of `encoder` and `decoder` at `path`, after comparing it with them on the same inputs.

    encoder: x [, y] -> (mean, scale), one tensor that `head` splits, or the mean alone with scale "none"; None for a
    decoder alone. decoder: z [, y] -> x. A learned mixture prior is {"kind": "mixture", "weights": (K,),
    "means": (K, D), "variances": (K, D) or "covariances": (K, D, D)}. Both are exported in evaluation mode, and left
    as they were. `examples`, real rows as an upload has them (conditional: rows and class indices), are decoded again
    to see whether the declared heads are right; what contradicts is in the notes. Raises InvalidBundle, naming the
    layer, the source line and the way out, for what cannot be exported.
    """
    check_installed("export_vae")
    from latentmill.exporting.modules import check_module, evaluating
    from latentmill.exporting.networks import export_decoder, export_encoder

    _check_engine(engine)
    declared = {
        "name": name,
        "description": description,
        "latent": {"shape": [latent_shape] if isinstance(latent_shape, int) else list(latent_shape)},
        "rows": rows,
        "encoder": None if encoder is None else {"scale": scale, "head": head},
        "prior": {"kind": (prior or {}).get("kind", "standard_normal")},
        "likelihood": likelihood or {"kind": "point"},
        "labels": {"classes": labels} if isinstance(labels, list | tuple) else labels,
    }
    manifest = _manifest(declared, {"name": "sequential"})
    check_module(decoder, "decoder")
    if encoder is not None:
        check_module(encoder, "encoder")
    with evaluating(encoder, decoder) as notes:
        parts = {} if encoder is None else {"encoder": export_encoder(encoder, manifest)}
        parts["decoder"] = export_decoder(decoder, manifest)
        networks = {part: exported.network for part, exported in parts.items()}
        manifest = _manifest(declared, {"name": "sequential", **networks})
        difference = _write_checked(Path(path), manifest, parts, prior or {})
        notes += _head_notes(Path(path), examples) if examples is not None else []
    said = [*notes, *(note for exported in parts.values() for note in exported.notes)]
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return ExportedBundle(Path(path), digest, manifest, difference, tuple(said))


def _check_engine(engine: str) -> None:
    if engine == "onnx":
        raise NotYet('The engine onnx comes in a later release; engine="auto" takes torch.', pointer="/engine")
    if engine not in ("auto", "torch"):
        raise InvalidBundle(f"engine must be auto, torch or onnx, not {engine!r}.", pointer="/engine")


def _manifest(declared: dict[str, Any], architecture: dict[str, Any]) -> VaeManifest:
    from workers.models.bundle import parse_manifest

    try:
        text = json.dumps({**declared, "engine": "torch", "architecture": architecture}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidBundle(f"What was given is not JSON: {error}.") from error
    return parse_manifest(text.encode())


def _write_checked(path: Path, manifest: VaeManifest, parts: "dict[str, Exported]", prior: dict[str, Any]) -> float:
    """Write the bundle if it does what the modules do; the largest difference."""
    from latentmill.exporting.round_trip import compare
    from latentmill.exporting.writing import write_bundle
    from workers.models import load_vae, open_bundle

    differences: list[float] = []

    def check(unfinished: Path) -> None:
        vae = load_vae(open_bundle(unfinished))
        encoder = parts["encoder"].module if "encoder" in parts else None
        differences.append(compare(vae, encoder, parts["decoder"].module))

    weights = {name: tensor for exported in parts.values() for name, tensor in exported.weights.items()}
    write_bundle(path, manifest, weights, _prior_tensors(prior), check)
    return differences[0]


def _head_notes(path: Path, examples: Any) -> list[str]:
    """What decoding says of the declared heads, on at most 2,000 of the example rows."""
    import numpy as np

    from workers.diagnostics.heads import head_warnings
    from workers.models import load_vae, open_bundle
    from workers.rows import codec

    vae = load_vae(open_bundle(path))
    rows, labels = examples if vae.manifest.labels is not None else (examples, None)
    chosen = codec(vae.manifest.rows).to_model(np.asarray(rows)[:2000])
    return head_warnings(vae, chosen, None if labels is None else np.asarray(labels, np.int64)[:2000])


def _prior_tensors(prior: dict[str, Any]) -> "dict[str, Tensor]":
    import torch

    return {
        name: torch.as_tensor(value).detach().to("cpu", torch.float64).contiguous()
        for name, value in prior.items()
        if name != "kind"
    }
