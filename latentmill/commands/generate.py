"""`latentmill generate`: a job from request to verified files."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from latentmill.client import Client
from latentmill.commands.console import ExpiresAt, ExpiresIn, say
from latentmill.commands.jobs import download_shown, resumable, verify_shown, wait_shown

StrategyName = Literal["prior", "aggregate", "posterior", "auto"]
FormatName = Literal["npz", "parquet", "safetensors", "csv", "webdataset", "mds"]
LABEL_WORDS = ("balanced", "as_fitted")
NEEDS = {"aggregate": "fit", "posterior": "dataset", "auto": "dataset"}
MADE_BY = {"fit": "`latentmill fit MODEL DATASET` makes one", "dataset": "`latentmill datasets add FILE` makes one"}


def generate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Id or name.")],
    strategy: Annotated[StrategyName, typer.Option(help="How latents are chosen.")],
    rows: Annotated[int, typer.Option(min=1, help="How many rows to make.")],
    fit: Annotated[str | None, typer.Option(help="aggregate: the fit to draw from.")] = None,
    dataset: Annotated[str | None, typer.Option(help="posterior, auto: the dataset.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed, the same rows; default: drawn.")] = None,
    format: Annotated[FormatName | None, typer.Option(help="Of the files; by kind of rows when left out.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Below 1: nearer the middle; above: wider.")] = None,
    labels: Annotated[
        str | None, typer.Option(help="How labels are shared out: balanced, as_fitted, or counts: 0=100,1=300.")
    ] = None,
    output: Annotated[Literal["mean", "sample"] | None, typer.Option(help="The decoder's mean, or a draw.")] = None,
    include_latents: Annotated[bool, typer.Option("--include-latents", help="Write the latents too.")] = False,
    shard_rows: Annotated[int | None, typer.Option(min=1, help="Rows per file.")] = None,
    name: Annotated[str | None, typer.Option(help="A name to call the job by instead of its id.")] = None,
    expires_in: ExpiresIn = None,
    expires_at: ExpiresAt = None,
    out: Annotated[Path | None, typer.Option(file_okay=False, help="For the files; default: the job's id")] = None,
) -> None:
    """Make rows: submit, wait, download, verify. Ctrl-C leaves the job running and says how to go on."""
    chosen = strategy_of(strategy, fit=fit, dataset=dataset, temperature=temperature, labels=labels_of(labels))
    with Client() as client:
        job = client.jobs.create(
            model,
            strategy=chosen,
            rows=rows,
            seed=seed,
            format=format,
            output=output,
            include_latents=include_latents,
            shard_rows=shard_rows,
            name=name,
            expires_in=expires_in,
            expires_at=expires_at,
        )
        folder = out if out is not None else Path(job.id)
        with resumable(job, folder):
            wait_shown(job)
            download_shown(job, folder)
            verified = verify_shown(folder)
    say(f"{folder}: {verified.rows:,} rows in {verified.files:,} files, all verified (job {job.id}, seed {job.seed})")


def strategy_of(strategy: StrategyName, *, fit: str | None, dataset: str | None, **numbers: Any) -> dict[str, Any]:
    """The strategy object that the options mean; the service checks the rest."""
    given = {"fit": fit, "dataset": dataset}
    needed = NEEDS.get(strategy)
    if needed is not None and given[needed] is None:
        raise typer.BadParameter(f"--strategy {strategy} needs it; {MADE_BY[needed]}", param_hint=f"--{needed}")
    for option, value in given.items():
        if value is not None and option != needed:
            raise typer.BadParameter(f"--strategy {strategy} takes no --{option}", param_hint=f"--{option}")
    wanted = {"kind": strategy, **given, **numbers}
    return {field: value for field, value in wanted.items() if value is not None}


def labels_of(text: str | None) -> str | dict[str, Any] | None:
    """`balanced`, `as_fitted`, or the counts that NAME=ROWS,NAME=ROWS means; a name may hold what is no comma."""
    if text is None or text in LABEL_WORDS:
        return text
    counts: dict[str, int] = {}
    for part in text.split(","):
        name, equals, rows = part.strip().rpartition("=")
        if not (equals and name and rows.isdecimal()) or name in counts:
            raise typer.BadParameter(
                f"{part!r} is no NAME=ROWS of a label of its own; say {', '.join(LABEL_WORDS)}, or 0=100,1=300",
                param_hint="--labels",
            )
        counts[name] = int(rows)
    return {"counts": counts}
