"""The `latentmill` command."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from latentmill import __version__
from latentmill.commands import datasets, export, fits, generate, jobs, limits, models, preview, processes, reports
from latentmill.commands.console import print_error
from latentmill.errors import LatentmillError

ONE_MACHINE, DATA, ROWS, SCALED = "Start here", "Models and data", "Rows", "Single processes"


class Commands(TyperGroup):
    """Prints an error of ours as what it is, a sentence for the user, and exits with 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LatentmillError as error:
            print_error(error)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=Commands,
    help="A trained VAE in, a synthetic dataset out. LATENTMILL_URL and LATENTMILL_API_KEY choose the service; "
    "without them it is the `latentmill up` of this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def front(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Nothing happens before the command itself."""


app.command(rich_help_panel=ONE_MACHINE)(processes.up)
app.command(rich_help_panel=ONE_MACHINE)(processes.demo)
app.add_typer(models.app, name="models", rich_help_panel=DATA)
app.add_typer(datasets.app, name="datasets", rich_help_panel=DATA)
app.add_typer(export.app, name="export", rich_help_panel=DATA)
app.command(rich_help_panel=ROWS)(fits.fit)
app.add_typer(fits.app, name="fits", rich_help_panel=ROWS)
app.command(rich_help_panel=ROWS)(reports.report)
app.add_typer(reports.app, name="reports", rich_help_panel=ROWS)
app.command(rich_help_panel=ROWS)(preview.preview)
app.command(rich_help_panel=ROWS)(generate.generate)
app.add_typer(jobs.app, name="jobs", rich_help_panel=ROWS)
app.command(rich_help_panel=ROWS)(jobs.download)
app.command(rich_help_panel=ROWS)(jobs.verify)
app.command(rich_help_panel=DATA)(limits.limits)
app.command(rich_help_panel=SCALED)(processes.api)
app.command(rich_help_panel=SCALED)(processes.worker)
app.command(rich_help_panel=SCALED)(processes.beat)
app.command(rich_help_panel=SCALED)(processes.migrate)
app.add_typer(processes.keys, name="keys", rich_help_panel=SCALED)


def main() -> None:
    """The entry point of the console script."""
    app()
