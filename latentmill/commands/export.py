"""`latentmill export`: how a checkpoint becomes a bundle, and the checkpoints that need no Python for it."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from latentmill.commands.console import AsJson, print_json, spinner
from latentmill.commands.export_guide import HOW

if TYPE_CHECKING:
    from latentmill.export import ExportedBundle

Scale = Literal["log_variance", "log_std", "variance", "std", "none"]
Engine = Literal["auto", "torch", "onnx"]
Head = Literal["pair", "chunked", "interleaved"]


class Verbatim(TyperGroup):
    """A group whose help is the text as it stands: code must not be wrapped or read as markup."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        typer.echo(HOW)


app = typer.Typer(
    cls=Verbatim,
    help="How a checkpoint becomes a bundle, with a worked example; pythae, diffusers and onnx make one at once.",
    invoke_without_command=True,
)

Out = Annotated[Path, typer.Argument(metavar="OUT", dir_okay=False, help="The bundle to write: NAME.vae.zip.")]
Name = Annotated[str | None, typer.Option(help="The bundle's name; the one of OUT otherwise.")]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", exists=True, file_okay=False)]


def read_json(text: str | None) -> Any:
    """The value of an option that is JSON."""
    try:
        return None if text is None else json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not JSON: {error}") from error


def read_shape(text: str) -> list[int]:
    """10, 4,16,16 or 4x16x16 as a shape."""
    if re.fullmatch(r"[1-9][0-9]*([,x][1-9][0-9]*)*", text) is None:
        raise typer.BadParameter(f"{text!r} is no size such as 10, nor a shape such as 4,16,16")
    return [int(size) for size in re.split("[,x]", text)]


RowsJson = Annotated[
    Any, typer.Option("--rows", metavar="JSON", parser=read_json, help='{"kind": "image", "shape": [1, 28, 28]}')
]
LikelihoodJson = Annotated[
    Any, typer.Option("--likelihood", metavar="JSON", parser=read_json, help='{"kind": "gaussian", "std": 0.1}')
]
Examples = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, metavar="FILE.npy", help="Real rows, which say whether the heads fit."),
]


@app.callback()
def export(context: typer.Context) -> None:
    """How a checkpoint becomes a bundle, with a worked example."""
    if context.invoked_subcommand is None:
        typer.echo(HOW)


@app.command()
def pythae(
    folder: Folder,
    out: Out,
    name: Name = None,
    rows: RowsJson = None,
    likelihood: LikelihoodJson = None,
    decoder_only: Annotated[
        bool, typer.Option("--decoder-only", help="Without the encoder: latents are what the decoder takes.")
    ] = False,
    examples: Examples = None,
    as_json: AsJson = False,
) -> None:
    """A model that pythae saved: FOLDER holds model_config.json and model.pt."""
    from latentmill import export_pythae

    with spinner(f"converting {folder.name}"):
        made = export_pythae(
            out,
            folder,
            name=name,
            rows=rows,
            likelihood=likelihood,
            decoder_only=decoder_only,
            examples=_read_rows(examples),
        )
    _print_made(made, as_json)


@app.command()
def diffusers(
    folder: Folder,
    out: Out,
    name: Name = None,
    image_size: Annotated[int | None, typer.Option(min=1, help="Height and width of a row, in pixels.")] = None,
    subfolder: Annotated[str | None, typer.Option(help="Of a pipeline: vae.")] = None,
    variant: Annotated[str | None, typer.Option(help="Of the weights: fp16.")] = None,
    engine: Annotated[Engine, typer.Option(help="onnx: for services without diffusers.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """An AutoencoderKL that diffusers saved: FOLDER holds config.json and safetensors."""
    from latentmill import export_diffusers

    with spinner(f"converting {folder.name}"):
        made = export_diffusers(
            out, folder, name=name, image_size=image_size, subfolder=subfolder, variant=variant, engine=engine
        )
    _print_made(made, as_json)


@app.command()
def onnx(
    out: Out,
    decoder: Annotated[Path, typer.Option(exists=True, dir_okay=False, metavar="FILE", help="z [, y] -> x")],
    rows: RowsJson,
    latent: Annotated[Any, typer.Option(metavar="SHAPE", parser=read_shape, help="10, or 4,16,16.")],
    encoder: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, metavar="FILE", help="x [, y] -> mean [, scale]")
    ] = None,
    scale: Annotated[Scale, typer.Option(help="What the encoder's second output means.")] = "log_variance",
    head: Annotated[Head, typer.Option(help="How one output holds both.")] = "pair",
    likelihood: LikelihoodJson = None,
    prior: Annotated[Literal["standard_normal", "none"], typer.Option(help="none: only fits.")] = "standard_normal",
    labels: Annotated[
        Any, typer.Option(metavar="JSON", parser=read_json, help='{"classes": ["0", "1"], "encoding": "one_hot"}')
    ] = None,
    name: Name = None,
    examples: Examples = None,
    as_json: AsJson = False,
) -> None:
    """Two ONNX graphs, as a Keras or TensorFlow project makes them."""
    from latentmill import export_onnx_vae

    with spinner(f"reading {decoder.name}"):
        made = export_onnx_vae(
            out,
            encoder,
            decoder,
            name=name or name_of(out),
            rows=rows,
            latent_shape=latent,
            scale=scale,
            head=head,
            likelihood=likelihood,
            prior={"kind": prior},
            labels=labels,
            examples=_read_rows(examples),
        )
    _print_made(made, as_json)


def name_of(out: Path) -> str:
    """NAME of NAME.vae.zip."""
    return out.name.removesuffix(".zip").removesuffix(".vae") or out.name


def _read_rows(path: Path | None) -> Any:
    if path is None:
        return None
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise typer.BadParameter(f"{path} holds no array: {error}", param_hint="--examples") from error


def _print_made(made: "ExportedBundle", as_json: bool) -> None:
    """Where the bundle is, what it holds, how far it was from the networks, and what the user should know."""
    manifest = made.manifest.canonical()
    if as_json:
        print_json(
            {
                "path": str(made.path),
                "digest": made.digest,
                "manifest": manifest,
                "largest_difference": made.largest_difference,
                "notes": list(made.notes),
            }
        )
        return
    console = Console()
    lines = {
        "bundle": str(made.path),
        "name": made.manifest.name,
        "rows": json.dumps(manifest["rows"], ensure_ascii=False),
        "latents": " x ".join(str(size) for size in made.manifest.latent.shape),
        "engine": made.manifest.engine,
        "prior": made.manifest.prior.kind,
        "likelihood": json.dumps(manifest.get("likelihood", {})),
        "largest difference": f"{made.largest_difference:.2g}",
    }
    for what, said in lines.items():
        console.print(Text.assemble((f"{what:<19} ", "bold"), said), soft_wrap=True)
    for note in made.notes:
        console.print(Text.assemble(("note: ", "bold"), note), soft_wrap=True)
    console.print(Text(f"next: latentmill models add {made.path} --name {made.manifest.name}"), soft_wrap=True)
