"""`latentmill datasets`."""

from pathlib import Path
from typing import Annotated, Any, Literal

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
from latentmill.resources.datasets import Dataset

app = typer.Typer(help="Reference rows: add, list, show, delete.", no_args_is_help=True)

DatasetReference = Annotated[str, typer.Argument(metavar="DATASET", help="Id or name.")]
ExistingFile = typer.Argument(
    metavar="FILE", exists=True, help="npz, npy, parquet, csv, idx, idx.gz, a zip of images, or a folder of images."
)


@app.command()
def add(
    file: Annotated[Path, ExistingFile],
    labels: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="One label per row.")] = None,
    label_column: Annotated[
        str | None, typer.Option(help="The column of FILE that holds the labels; of images: folder.")
    ] = None,
    kind: Annotated[
        Literal["rows", "latents"], typer.Option(help="latents: arrays mean and std instead of rows.")
    ] = "rows",
    model: Annotated[
        str | None, typer.Option(help="The table model whose columns FILE has: it says what each field is.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="A name to call it by instead of its id.")] = None,
    expires_in: ExpiresIn = None,
    expires_at: ExpiresAt = None,
    as_json: AsJson = False,
) -> None:
    """Upload rows and wait until they are read."""
    with Client() as client:
        with spinner(f"uploading and reading {file.name}"):
            added = client.datasets.add(
                file,
                labels=labels,
                kind=kind,
                label_column=label_column,
                model=model,
                name=name,
                expires_in=expires_in,
                expires_at=expires_at,
            )
            dataset = added.wait()
        print_warnings(dataset)
        print_resource(dataset, as_json, readable=_readable(dataset))


@app.command("list")
def list_datasets(limit: Limit = 50, as_json: AsJson = False) -> None:
    """List datasets, newest first."""
    with Client() as client:
        print_list(client.datasets.list(limit), {"kind": "kind", "rows": "rows", "shape": "row_shape"}, as_json)


@app.command()
def show(dataset: DatasetReference, as_json: AsJson = False) -> None:
    """Show one dataset: rows, shape, labels."""
    with Client() as client:
        found = client.datasets.get(dataset)
        print_resource(found, as_json, readable=_readable(found))


@app.command()
def delete(dataset: DatasetReference) -> None:
    """Delete a dataset that no live fit or job needs."""
    with Client() as client:
        client.datasets.delete(dataset)
    say(f"deleted {dataset}")


def _readable(dataset: Dataset) -> dict[str, Any]:
    """All fields; typed columns by what each holds."""
    columns = dataset.data.get("columns") or []
    return {**dataset.data, "columns": ", ".join(_described(column) for column in columns)}


def _described(column: str | dict[str, Any]) -> str:
    if isinstance(column, str):
        return column
    categories = column.get("categories")
    kind = column["kind"] if categories is None else f"{len(categories):,} categories"
    return f"{column['name']} ({kind}{', some missing' if column.get('missing') else ''})"
