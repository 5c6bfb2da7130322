"""What the command line prints: one resource, a table, progress, an error in one line."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from latentmill.columns import aligned
from latentmill.errors import LatentmillError
from latentmill.resources.resource import Resource

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ExpiresIn = Annotated[str | None, typer.Option(metavar="DURATION", help="Delete it by itself after: 45s, 24h, 90d.")]
ExpiresAt = Annotated[str | None, typer.Option(metavar="TIME", help="Delete it by itself at: 2031-05-01T12:00:00Z.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="How many, newest first.")]

COUNTS = frozenset({"rows", "bytes", "rows_used", "holdout_rows"})  # a seed is no count: it is typed again
INTERRUPTED = 130  # the exit status after Ctrl-C
HIDDEN = frozenset({"object", "urls"})  # of no use to someone at a terminal


def error_console() -> Console:
    return Console(stderr=True)


def say(line: str) -> None:
    """A line about what goes on, beside the output."""
    error_console().print(Text(line), soft_wrap=True)


def print_error(error: LatentmillError) -> None:
    """One red line, then the fields that are wrong."""
    console = error_console()
    console.print(Text.assemble(("error: ", "bold red"), (error.detail, "red")), soft_wrap=True)
    for field in error.errors:
        if field.message != error.detail and f"{field.pointer}: {field.message}" != error.detail:
            place = f"{field.pointer}: " if field.pointer else ""
            console.print(Text(f"  {place}{field.message}"), soft_wrap=True)
    if error.request_id:
        console.print(Text(f"  request {error.request_id}", style="dim"), soft_wrap=True)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_resource(resource: Resource, as_json: bool, *, readable: Mapping[str, Any] | None = None) -> None:
    """All fields of one resource; for people those of `readable` instead, where it is given."""
    if as_json:
        print_json(resource.data)
        return
    console = Console()
    fields = (resource.data if readable is None else readable).items()
    shown = {name: value for name, value in fields if name not in HIDDEN and value not in (None, [], {}, "")}
    width = max([19, *map(len, shown)])
    for name, value in shown.items():
        console.print(Text.assemble((f"{name:<{width}} ", "bold"), _shown(name, value)), soft_wrap=True)


def print_list(resources: Sequence[Resource], columns: Mapping[str, str], as_json: bool) -> None:
    """One line a resource; beside id, name and state the fields of `columns`, by heading."""
    if as_json:
        print_json([resource.data for resource in resources])
        return
    if not resources:
        say("none yet")
        return
    lines = [["id", "name", "state", *columns, "created"]]
    for resource in resources:
        created = str(resource.data.get("created_at", ""))[:16].replace("T", " ")
        fields = (_cell(resource.data, path) for path in columns.values())
        lines.append([resource.id, resource.name or "", resource.state, *fields, created])
    for line in aligned(lines):  # a rich table would cut names to fit the terminal
        typer.echo(line)


def print_warnings(resource: Resource) -> None:
    for warning in resource.warnings:
        error_console().print(Text.assemble(("warning: ", "bold yellow"), warning), soft_wrap=True)


@contextmanager
def rows_bar(what: str, total: int) -> Iterator[Progress]:
    """A bar that counts rows; its only task is number 0."""
    count = TextColumn("{task.completed:,} of {task.total:,} rows")
    columns = (TextColumn("{task.description}"), BarColumn(), count, TextColumn("{task.fields[speed]}"))
    with _progress(*columns) as progress:  # how long it still takes, the service knows better than the bar
        progress.add_task(what, total=total, speed="")
        yield progress


@contextmanager
def bytes_bar(what: str) -> Iterator[Progress]:
    """A bar that counts bytes; its only task is number 0."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with _progress(*columns) as progress:
        progress.add_task(what, total=None)
        yield progress


@contextmanager
def share_bar(what: str) -> Iterator[Progress]:
    """A bar of how much is done, from 0 to 1; its only task is number 0."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"))
    with _progress(*columns) as progress:
        progress.add_task(what, total=1.0)
        yield progress


@contextmanager
def spinner(what: str) -> Iterator[None]:
    with error_console().status(Text(what)):
        yield


def _progress(*columns: ProgressColumn) -> Progress:
    console = error_console()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _shown(name: str, value: Any) -> str:
    if name in COUNTS and isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cell(data: dict[str, Any], column: str) -> str:
    """The value at `a.b` of a resource."""
    value: Any = data
    for name in column.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, dict):
        return str(value.get("kind", ""))
    if isinstance(value, list):
        return " x ".join(str(size) for size in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value or "")
