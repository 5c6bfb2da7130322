"""`export_onnx_vae`: two ONNX files that somebody made -> a bundle that the service runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentmill.errors import NotInstalled
from latentmill.exporting.installed import check_installed, missing_for_onnx

if TYPE_CHECKING:
    from os import PathLike

    from latentmill.export import ExportedBundle


def export_onnx_vae(
    path: "str | PathLike[str]",
    encoder_path: "str | PathLike[str] | None",
    decoder_path: "str | PathLike[str]",
    *,
    name: str,
    rows: dict[str, Any],
    latent_shape: list[int] | tuple[int, ...] | int,
    scale: str = "log_variance",
    head: str = "pair",
    likelihood: dict[str, Any] | None = None,
    prior: dict[str, Any] | None = None,
    labels: dict[str, Any] | list[str] | None = None,
    description: str = "",
    examples: Any = None,
    inputs: Mapping[str, str] | None = None,
    outputs: Mapping[str, str] | None = None,
    decoder_returns: str = "auto",
) -> "ExportedBundle":
    """Write the bundle of two ONNX files at `path`, after comparing it with them on the same inputs.

    encoder_path: a graph x [, y] -> mean [, scale], or one output that `head` splits; None for a decoder alone.
    decoder_path: z [, y] -> x [, std]. Their own names are found out where that is unambiguous; else `inputs` and
    `outputs` say them by those of the contract: inputs={"x": "input_1"}, outputs={"mean": "z_mean", "x": "dense_4"}.
    Images of Keras and TensorFlow have their channels last: rows={"kind": "image", "shape": [28, 28, 1],
    "layout": "HWC"}. Weights in a file beside the graph are taken in. A batch axis that is fixed is made free where the
    graph then does the same for every row; all other arguments are those of `export_vae`.

    The files, run as they are by onnxruntime, and the bundle are compared on seeded rows and latents in batches of 2,
    64 and 1, with the same tolerance. Raises InvalidBundle, naming the node, the input or the output and the way out,
    for what the service would not run; NotInstalled without the packages that it takes.
    """
    check_installed("export_onnx_vae")
    if missing := missing_for_onnx("onnx", "onnxruntime"):
        raise NotInstalled(f"{missing}.")
    from latentmill.exporting.declaration import check_choice, declaration
    from latentmill.exporting.engines import Export
    from latentmill.exporting.onnx.foreign import open_foreign
    from latentmill.exporting.onnx.pair import write_pair
    from latentmill.exporting.probabilities import RETURNS

    check_choice("decoder_returns", decoder_returns, RETURNS)
    declared = declaration(
        name=name,
        description=description,
        rows=rows,
        latent_shape=latent_shape,
        encoder=None if encoder_path is None else {"scale": scale, "head": head},
        likelihood=likelihood,
        prior=prior,
        labels=labels,
    )
    manifest = declared.manifest("onnx")
    paths = {"encoder": encoder_path, "decoder": decoder_path}
    pair = {
        part: open_foreign(Path(file), part, manifest, dict(inputs or {}), dict(outputs or {}))
        for part, file in paths.items()
        if file is not None
    }
    return write_pair(Export(Path(path), declared, {}, decoder_returns, examples), pair)
