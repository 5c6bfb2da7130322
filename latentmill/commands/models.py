"""`latentmill models`."""

from pathlib import Path
from typing import Annotated

import typer

from latentmill.client import Client
from latentmill.commands.console import AsJson, Limit, print_list, print_resource, print_warnings, say, spinner

app = typer.Typer(help="Trained VAEs: add, list, show, delete.", no_args_is_help=True)

ModelReference = Annotated[str, typer.Argument(metavar="MODEL", help="Id or name.")]


@app.command()
def add(
    bundle: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A .vae.zip; see latentmill export.")],
    name: Annotated[str | None, typer.Option(help="A name to call it by instead of its id.")] = None,
    as_json: AsJson = False,
) -> None:
    """Upload a bundle and wait until it is inspected."""
    with Client() as client:
        with spinner(f"uploading and inspecting {bundle.name}"):
            model = client.models.add(bundle, name=name).wait()
        print_warnings(model)
        print_resource(model, as_json)


@app.command("list")
def list_models(limit: Limit = 50, as_json: AsJson = False) -> None:
    """List models, newest first."""
    with Client() as client:
        print_list(client.models.list(limit), ("manifest.engine", "manifest.rows"), as_json)


@app.command()
def show(model: ModelReference, as_json: AsJson = False) -> None:
    """Show one model: its manifest and what was measured."""
    with Client() as client:
        print_resource(client.models.get(model), as_json)


@app.command()
def delete(model: ModelReference) -> None:
    """Delete a model that no live fit or job needs."""
    with Client() as client:
        client.models.delete(model)
    say(f"deleted {model}")
