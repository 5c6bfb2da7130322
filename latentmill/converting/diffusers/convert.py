"""`export_diffusers`: a folder of diffusers' AutoencoderKL -> a bundle."""

from dataclasses import replace
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentmill.converting.naming import bundle_name
from latentmill.errors import InvalidBundle, NotInstalled
from latentmill.export import ExportedBundle, export_vae
from latentmill.exporting.installed import check_installed

if TYPE_CHECKING:
    from torch import Tensor, nn

_BATCHES = (2,)  # one row by itself is compared, too; the layers are known, and minutes long for large pictures


def export_diffusers(
    path: "str | PathLike[str]",
    folder: "str | PathLike[str]",
    *,
    name: str | None = None,
    subfolder: str | None = None,
    variant: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    likelihood: dict[str, Any] | None = None,
    engine: str = "auto",
    description: str = "",
    examples: Any = None,
) -> ExportedBundle:
    """Write the bundle of the AutoencoderKL in `folder` at `path`, after comparing it with diffusers' own.

    folder: what `save_pretrained` wrote, with weights in safetensors (one file, or shards with their index), of which
    `variant` names others, such as fp16. Of a pipeline give the `subfolder`, "vae". image_size: height and width of a
    row in pixels, one number or two; the configuration's sample_size unless told. Rows are images in [-1, 1]; latents
    (latent_channels, h, w) are those of `vae.encode(x).latent_dist`, not scaled by scaling_factor. likelihood: point
    unless told, since the losses of such models say no noise. engine: "torch" writes the architecture autoencoder_kl,
    which services run that have diffusers; "onnx" graphs that any service runs; "auto" takes torch. Raises
    InvalidBundle for other classes and pickled weights, naming the way out; NotFound when the folder lacks a file.
    """
    check_installed("export_diffusers")
    if find_spec("diffusers") is None:
        raise NotInstalled("export_diffusers needs diffusers: pip install diffusers")
    from latentmill.converting.diffusers.folder import read_config, read_weights
    from latentmill.converting.diffusers.networks import Images, Posterior, loaded_by_diffusers
    from latentmill.converting.diffusers.sizes import latent_shape, row_shape

    if engine not in ("auto", "torch", "onnx"):
        raise InvalidBundle(f"engine must be auto, torch or onnx, not {engine!r}.", pointer="/engine")
    if not isinstance(folder, str | PathLike):
        raise InvalidBundle(
            f"It takes the folder of a model, not {type(folder).__name__}: save it first, vae.save_pretrained(folder)."
        )
    place = Path(folder) if subfolder is None else Path(folder) / subfolder
    config = read_config(place)
    shape = row_shape(config, image_size)
    weights = read_weights(place, variant)
    declared: dict[str, Any] = {
        "name": name or bundle_name(path),
        "description": description or f"An AutoencoderKL of diffusers, for images of {shape[1]} x {shape[2]}.",
        "rows": {"kind": "image", "shape": shape, "range": [-1, 1]},
        "latent_shape": latent_shape(config, shape),
        "likelihood": likelihood,
    }
    original = loaded_by_diffusers(place, variant)
    encoder, decoder = Posterior(original), Images(original)
    if engine == "onnx":
        made = export_vae(path, **declared, encoder=encoder, decoder=decoder, engine="onnx", examples=examples)
    else:
        made = _as_architecture(Path(path), declared, config, weights, (encoder, decoder), examples)
    return replace(made, notes=(*_notes(config, weights), *made.notes))


def _as_architecture(
    path: Path,
    declared: dict[str, Any],
    config: dict[str, Any],
    weights: "dict[str, Tensor]",
    originals: "tuple[nn.Module, nn.Module]",
    examples: Any,
) -> ExportedBundle:
    """The bundle for the architecture autoencoder_kl: the configuration and the weights as they are."""
    from latentmill.converting.diffusers.networks import ARCHITECTURE, called, part_weights
    from latentmill.exporting.declaration import declaration
    from latentmill.exporting.engines import Export
    from latentmill.exporting.examples import given_examples
    from latentmill.exporting.round_trip import Originals
    from latentmill.exporting.writing import weights_member

    heads = {"scale": "log_variance", "head": "pair"}
    said = declaration(**declared, encoder=heads, prior=None, labels=None)
    numbers = {key: value for key, value in config.items() if not key.startswith("_")}
    manifest = said.manifest("torch", {"name": ARCHITECTURE, **numbers})
    export = Export(path, said, {}, "mean", examples)
    compared = Originals(called(originals[0]), called(originals[1]), "AutoencoderKL", _BATCHES)
    difference = export.write(manifest, weights_member(part_weights(weights)), compared)
    given = None if examples is None else given_examples(manifest, examples)
    engine = f"Engine torch, architecture {ARCHITECTURE}: the service needs diffusers to run it, or take engine='onnx'."
    return export.finished(manifest, difference, [*export.head_notes(given), engine])


def _notes(config: dict[str, Any], weights: "dict[str, Tensor]") -> list[str]:
    """What the user should know of the latents, the prior and the precision."""
    scaled = f"before scaling_factor {config.get('scaling_factor', 0.18215)}"
    stored = sorted({str(value.dtype).removeprefix("torch.") for value in weights.values()} - {"float32"})
    precision = (
        [f"Weights stored as {' and '.join(stored)} became float32, in which bundles compute."] if stored else []
    )
    return [
        f"Latents are those of vae.encode(x).latent_dist, {scaled}; rows are images in [-1, 1].",
        "Such models are trained with hardly any KL term: draws of the standard normal prior are seldom images. Fit.",
        *precision,
    ]
