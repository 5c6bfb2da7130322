"""`latentmill report` and `latentmill reports`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from latentmill.client import Client
from latentmill.commands.console import (
    INTERRUPTED,
    AsJson,
    Limit,
    print_json,
    print_list,
    print_resource,
    print_warnings,
    say,
    share_bar,
)
from latentmill.errors import Unreachable
from latentmill.resources import Report

app = typer.Typer(help="Reports: list, show, delete; `latentmill report` makes one.", no_args_is_help=True)

ReportReference = Annotated[str, typer.Argument(metavar="REPORT", help="Id or name.")]
Out = Annotated[Path | None, typer.Option(dir_okay=False, help="Write the page here, such as report.html.")]


def report(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Id or name.")],
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Id or name.")],
    reference: Annotated[str | None, typer.Option(help="A dataset that the VAE never saw.")] = None,
    rows: Annotated[
        int | None, typer.Option(min=20, max=50_000, help="Rows made by each candidate; default: 2,000.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    holdout: Annotated[
        float | None, typer.Option(min=0, max=0.5, help="Share of rows that judge; default: 0.1.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="A name to call it by instead of its id.")] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Measure every way to draw rows, and recommend one. Ctrl-C leaves the report running."""
    with Client() as client:
        asked = {"reference": reference, "rows": rows, "seed": seed, "holdout": holdout, "name": name}
        made = client.reports.create(model, dataset, **asked)  # type: ignore[arg-type]
        with _resumable(made):
            _wait_shown(made)
            _show(made, as_json, out, model=model, dataset=dataset)


@app.command("list")
def list_reports(
    model: Annotated[str | None, typer.Option(help="Only reports of this model.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only reports on this dataset.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List reports, newest first."""
    with Client() as client:
        reports = client.reports.list(limit, model=model, dataset=dataset)
        columns = {"model": "model", "dataset": "dataset", "use": "recommendation.strategy"}
        print_list(reports, columns | {"evidence": "recommendation.evidence"}, as_json)


@app.command()
def show(report: ReportReference, out: Out = None, as_json: AsJson = False) -> None:
    """Show one report: its candidates and the recommendation."""
    with Client() as client:
        found = client.reports.get(report)
        if found.state == "ready" or out is not None:
            _show(found, as_json, out, model=str(found.data["model"]), dataset=str(found.data["dataset"]))
            return
    own = {name: value for name, value in found.data.items() if name != "candidates"}
    compared = [candidate["name"] for candidate in found.data["candidates"]]
    print_resource(found, as_json, readable={**own, "candidates": ", ".join(compared)})


@app.command()
def delete(report: ReportReference) -> None:
    """Delete a report; the fits that were made for it stay."""
    with Client() as client:
        client.reports.delete(report)
    say(f"deleted {report}")


def _show(report: Report, as_json: bool, out: Path | None, *, model: str, dataset: str) -> None:
    print_warnings(report)
    if out is not None:
        say(f"wrote {report.save(out)}")
    if as_json:
        print_json(report.data)
        return
    console = Console()
    for line in [f"report {report.name or report.id}", *report.summary(), *_next(report, model, dataset)]:
        console.print(Text(line), soft_wrap=True)


def _next(report: Report, model: str, dataset: str) -> list[str]:
    """What to type to draw rows as the report says."""
    strategy = report.recommendation.get("strategy")
    if strategy is None:
        return []
    wanted = f"--strategy {strategy['kind']}"
    wanted += f" --fit {strategy['fit']}" if "fit" in strategy else ""
    wanted += f" --dataset {strategy.get('dataset') or dataset}" if strategy["kind"] in ("posterior", "auto") else ""
    wanted += f" --temperature {strategy['temperature']:g}" if strategy.get("temperature", 1) != 1 else ""
    return [f"next: latentmill generate {model} {wanted} --rows N --out DIR"]


def _wait_shown(report: Report) -> None:
    """Wait behind a bar: the fits first, then the measuring; its error is raised."""
    with share_bar("waiting") as bar:

        def show_progress(current: Report) -> None:
            fitting = "fitting" if current.data.get("candidates") else "waiting for model and data"
            what = {"queued": fitting, "running": "measuring"}.get(current.state, current.state)
            bar.update(bar.tasks[0].id, description=what, completed=current.data.get("progress") or 0.0)

        report.wait(progress=show_progress)


@contextmanager
def _resumable(report: Report) -> Iterator[None]:
    """Say how to see the report after an interrupt or an outage: it does not stop with its watcher."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"report {report.id} goes on without this terminal; see it: latentmill reports show {report.id}")
        raise typer.Exit(INTERRUPTED) from None
    except Unreachable:
        say(f"see the report later: latentmill reports show {report.id}")
        raise
