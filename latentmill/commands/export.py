"""`latentmill export`: how a checkpoint becomes a bundle, and the checkpoints that need no Python for it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from latentmill.commands.console import AsJson, print_json, spinner
from latentmill.commands.export_guide import HOW
from latentmill.commands.export_options import (
    Engine,
    Examples,
    Folder,
    Head,
    Inputs,
    LabelsJson,
    Latent,
    LikelihoodJson,
    Name,
    Out,
    Outputs,
    Returns,
    RowsJson,
    Scale,
    read_names,
    read_rows,
)
from latentmill.converting.naming import bundle_name

if TYPE_CHECKING:
    from latentmill.export import ExportedBundle


class Verbatim(TyperGroup):
    """A group whose help is the text as it stands: code must not be wrapped or read as markup."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        typer.echo(HOW)


app = typer.Typer(
    cls=Verbatim,
    help="How a checkpoint becomes a bundle, with a worked example; pythae, diffusers and onnx make one at once.",
    invoke_without_command=True,
)


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
            examples=read_rows(examples),
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
    latent: Latent,
    encoder: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, metavar="FILE", help="x [, y] -> mean [, scale]")
    ] = None,
    scale: Annotated[Scale, typer.Option(help="What the encoder's second output means.")] = "log_variance",
    head: Annotated[Head, typer.Option(help="How one output holds both.")] = "pair",
    likelihood: LikelihoodJson = None,
    prior: Annotated[Literal["standard_normal", "none"], typer.Option(help="none: only fits.")] = "standard_normal",
    labels: LabelsJson = None,
    inputs: Inputs = None,
    outputs: Outputs = None,
    decoder_returns: Annotated[Returns, typer.Option(help="logits: a Sigmoid or Softmax is appended.")] = "auto",
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
            name=name or bundle_name(out),
            rows=rows,
            latent_shape=latent,
            scale=scale,
            head=head,
            likelihood=likelihood,
            prior={"kind": prior},
            labels=labels,
            inputs=read_names(inputs or [], "--input"),
            outputs=read_names(outputs or [], "--output"),
            decoder_returns=decoder_returns,
            examples=read_rows(examples),
        )
    _print_made(made, as_json)


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
        "rows": _said(manifest["rows"]),
        "latents": " x ".join(str(size) for size in made.manifest.latent.shape),
        "engine": made.manifest.engine,
        "prior": made.manifest.prior.kind,
        "likelihood": _said(manifest["likelihood"]),
        "largest difference": f"{made.largest_difference:.2g}",
    }
    for what, said in lines.items():
        console.print(Text.assemble((f"{what:<19} ", "bold"), said), soft_wrap=True)
    for note in made.notes:
        console.print(Text.assemble(("note: ", "bold"), note), soft_wrap=True)
    console.print(Text(f"next: latentmill models add {made.path} --name {made.manifest.name}"), soft_wrap=True)


def _said(fields: dict[str, Any]) -> str:
    """The fields that say something, as JSON."""
    return json.dumps({name: value for name, value in fields.items() if value is not None}, ensure_ascii=False)
