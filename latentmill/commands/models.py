"""`latentmill models`."""

from pathlib import Path
from typing import Annotated

import typer

from latentmill.client import Client
from latentmill.commands.console import (
    AsJson,
    ExpiresAt,
    ExpiresIn,
    Limit,
    print_list,
    print_resource,
    print_warnings,
    say,
    spinner,
)
from latentmill.resources import Model

app = typer.Typer(help="Trained VAEs: add, list, show, delete.", no_args_is_help=True)

ModelReference = Annotated[str, typer.Argument(metavar="MODEL", help="Id or name.")]


@app.command()
def add(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", exists=True, dir_okay=False, help="A .vae.zip; see latentmill export.")
    ],
    name: Annotated[str | None, typer.Option(help="A name to call it by instead of its id.")] = None,
    expires_in: ExpiresIn = None,
    expires_at: ExpiresAt = None,
    as_json: AsJson = False,
) -> None:
    """Upload a bundle and wait until it is inspected."""
    with Client() as client:
        with spinner(f"uploading and inspecting {bundle.name}"):
            model = client.models.add(bundle, name=name, expires_in=expires_in, expires_at=expires_at).wait()
        print_warnings(model)
        _print_model(model, as_json)


@app.command("list")
def list_models(limit: Limit = 50, as_json: AsJson = False) -> None:
    """List models, newest first."""
    with Client() as client:
        columns = {"engine": "manifest.engine", "rows": "manifest.rows", "latents": "manifest.latent.shape"}
        print_list(client.models.list(limit), columns, as_json)


@app.command()
def show(model: ModelReference, as_json: AsJson = False) -> None:
    """Show one model: its manifest and what was measured."""
    with Client() as client:
        _print_model(client.models.get(model), as_json)


@app.command()
def delete(model: ModelReference) -> None:
    """Delete a model that no live fit or job needs."""
    with Client() as client:
        client.models.delete(model)
    say(f"deleted {model}")


def _print_model(model: Model, as_json: bool) -> None:
    """What a user chose and what was measured, without the layers; --json has it all."""
    manifest = dict(model.data.get("manifest") or {})
    manifest["bundle"] = manifest.pop("name", None)
    manifest.pop("schema", None)
    if architecture := manifest.pop("architecture", None):
        manifest["architecture"] = architecture.get("name")
    speeds = {
        f"speed, {device}": f"{measured['rows_per_s']:,.0f} rows/s in batches of {measured['execution']['batch_rows']}"
        for device, measured in (model.data.get("executions") or {}).items()
    }
    own = {name: value for name, value in model.data.items() if name not in ("manifest", "executions")}
    print_resource(model, as_json, readable={**own, **manifest, **speeds})
