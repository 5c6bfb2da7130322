"""The options of `latentmill export`, from the text that was typed to what the exporters take."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

Scale = Literal["log_variance", "log_std", "variance", "std", "none"]
Head = Literal["pair", "chunked", "interleaved"]
Engine = Literal["auto", "torch", "onnx"]
Returns = Literal["auto", "mean", "logits"]


def read_json(text: str) -> Any:
    """The value of an option that is JSON."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not JSON: {error}") from error


def read_shape(text: str) -> list[int]:
    """10, 4,16,16 or 4x16x16 as a shape."""
    if re.fullmatch(r"[1-9][0-9]*([,x][1-9][0-9]*)*", text) is None:
        raise typer.BadParameter(f"{text!r} is no size such as 10, nor a shape such as 4,16,16")
    return [int(size) for size in re.split("[,x]", text)]


def read_names(pairs: list[str], option: str) -> dict[str, str] | None:
    """["mean=z_mean", ...] as a mapping; None without any."""
    named = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    if len(named) != len(pairs):
        raise typer.BadParameter(f"{' '.join(pairs)}: each is NAME=ITS_NAME, each NAME once", param_hint=option)
    return named or None


def read_rows(path: Path | None) -> Any:
    """The array of a .npy file. A pickled one is not opened."""
    if path is None:
        return None
    import numpy as np

    try:
        loaded = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise typer.BadParameter(f"{path} holds no array: {error}", param_hint="--examples") from error
    if not isinstance(loaded, np.ndarray):
        loaded.close()
        raise typer.BadParameter(
            f"{path} holds several arrays: give one, as np.save writes it", param_hint="--examples"
        )
    return loaded


Out = Annotated[Path, typer.Argument(metavar="OUT", dir_okay=False, help="The bundle to write: NAME.vae.zip.")]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", exists=True, file_okay=False)]
Name = Annotated[str | None, typer.Option(help="The bundle's name; the one of OUT otherwise.")]
RowsJson = Annotated[
    Any, typer.Option("--rows", metavar="JSON", parser=read_json, help='{"kind": "image", "shape": [1, 28, 28]}')
]
LikelihoodJson = Annotated[
    Any, typer.Option("--likelihood", metavar="JSON", parser=read_json, help='{"kind": "gaussian", "std": 0.1}')
]
LabelsJson = Annotated[
    Any,
    typer.Option("--labels", metavar="JSON", parser=read_json, help='{"classes": ["0", "1"], "encoding": "one_hot"}'),
]
Latent = Annotated[Any, typer.Option(metavar="SHAPE", parser=read_shape, help="10, or 4,16,16.")]
Examples = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, metavar="FILE.npy", help="Real rows, which say whether the heads fit."),
]
Inputs = Annotated[list[str] | None, typer.Option("--input", metavar="NAME=ITS_NAME", help="x=input_1; z, y too.")]
Outputs = Annotated[list[str] | None, typer.Option("--output", metavar="NAME=ITS_NAME", help="mean=z_mean; scale, x.")]
