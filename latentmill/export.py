"""`export_vae`: a user's own torch modules -> a bundle that holds no code."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from latentmill.errors import InvalidBundle
from latentmill.exporting.installed import check_installed
from latentmill.specs import VaeManifest

if TYPE_CHECKING:
    from os import PathLike

    from torch import nn

_ENGINES = ("auto", "torch", "onnx")


@dataclass(frozen=True)
class ExportedBundle:
    """Where the bundle is, what it says, and how far it was from the originals on the same inputs.

    `largest_difference` is a share of the largest value, or of 1 where that is smaller; `notes` say what was found and
    done on the way, the engine last.
    """

    path: Path
    digest: str = field(repr=False)
    manifest: VaeManifest = field(repr=False)
    largest_difference: float
    notes: tuple[str, ...]

    @property
    def engine(self) -> Literal["torch", "onnx"]:
        """Which engine runs the bundle."""
        return self.manifest.engine


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
    outputs: Mapping[str, int | str] | None = None,
    decoder_returns: str = "auto",
    architecture: dict[str, Any] | None = None,
) -> ExportedBundle:
    """Write the bundle of `encoder` and `decoder` at `path`, after comparing it with them on the same inputs.

    encoder: x [, y] -> (mean, scale), one tensor that `head` splits, or the mean alone with scale "none"; None for a
    decoder alone. decoder: z [, y] -> x, or (x, std) with the likelihood {"kind": "gaussian", "std": "learned"}. What
    they return may be a tuple, or a mapping, named tuple, dataclass or Normal whose names say which is which; where
    they do not, `outputs` says it by place or by name: {"mean": 1, "scale": 2, "x": "recon"}. A learned mixture prior
    is {"kind": "mixture", "weights": (K,), "means": (K, D), "variances": (K, D) or "covariances": (K, D, D)}.

    `engine`: "torch" writes the modules as allow-listed layers with their weights, "onnx" as ONNX graphs; "auto" takes
    torch where it can, and says in the notes why it could not. Both are exported in evaluation mode, and left as they
    were. `decoder_returns`: "mean", "logits" (a Sigmoid, or a Softmax, is appended), or "auto": logits where the
    likelihood is bernoulli or categorical and what is decoded cannot be probabilities. `examples`, real rows as an
    upload has them (conditional: rows and labels), are decoded again to see whether the declared heads are right; what
    contradicts is in the notes.

    `architecture`, {"name": "residual", "channels": [32, 64], ...}, writes the weights for an architecture that the
    service knows by name, in place of the layers that the modules are made of: their names must be its own, as those
    of the modules of `untrained_vae` are.

    Bundle and modules are compared on seeded rows and latents, in batches of 2, 64 and 1; the bundle is written if they
    differ by at most 1e-5 of the largest value (of 1 where that is smaller), or by about what float32 costs the modules
    themselves. Raises InvalidBundle, naming the layer, the source line and the way out, for what cannot be exported;
    NotInstalled without the packages that it takes.
    """
    check_installed("export_vae")
    from latentmill.exporting.declaration import check_choice, declaration
    from latentmill.exporting.engines import Export
    from latentmill.exporting.mistakes import check_modules
    from latentmill.exporting.probabilities import RETURNS

    check_choice("engine", engine, _ENGINES)
    check_choice("decoder_returns", decoder_returns, RETURNS)
    if architecture is not None:
        decoder_returns = _returns_of_architecture(engine, decoder_returns)
    declared = declaration(
        name=name,
        description=description,
        rows=rows,
        latent_shape=latent_shape,
        encoder=None if encoder is None else {"scale": scale, "head": head},
        likelihood=likelihood,
        prior=prior,
        labels=labels,
    )
    check_modules(encoder, decoder)
    export = Export(Path(path), declared, dict(outputs or {}), decoder_returns, examples)
    return export.of_modules(encoder, decoder, engine, architecture)


def _returns_of_architecture(engine: str, decoder_returns: str) -> str:
    """Nothing is appended to an architecture. Raises InvalidBundle where that was asked for, or another engine."""
    if engine == "onnx":
        raise InvalidBundle("architecture belongs to the engine torch; leave engine out.", pointer="/engine")
    if decoder_returns == "logits":
        raise InvalidBundle(
            "Nothing can be appended to an architecture: choose its output, sigmoid for one, and train with that.",
            pointer="/decoder_returns",
        )
    return "mean"
