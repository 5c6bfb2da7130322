"""`latentmill preview`: a few rows at once."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from latentmill.client import Client
from latentmill.commands.console import print_json, say
from latentmill.commands.generate import StrategyName, strategy_of
from latentmill.resources.previews import SUFFIXES


def preview(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Id or name; not needed with --job.")] = None,
    strategy: Annotated[StrategyName | None, typer.Option(help="How latents are chosen.")] = None,
    fit: Annotated[str | None, typer.Option(help="aggregate: the fit to draw from.")] = None,
    dataset: Annotated[str | None, typer.Option(help="posterior, auto: the dataset.")] = None,
    rows: Annotated[int | None, typer.Option(min=1, max=64, help="How many rows; default: 8.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed, the same rows; default: drawn.")] = None,
    job: Annotated[str | None, typer.Option(help="Show the very rows of this job.")] = None,
    indices: Annotated[str | None, typer.Option(help="Which rows, counted from 0: 0,5,9.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Below 1: nearer the middle; above: wider.")] = None,
    labels: Annotated[Literal["balanced", "as_fitted"] | None, typer.Option(help="How labels are shared out.")] = None,
    output: Annotated[Literal["mean", "sample"] | None, typer.Option(help="The decoder's mean, or a draw.")] = None,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="A .png (images), .npz or .json; without it JSON is printed.")
    ] = None,
) -> None:
    """Show a few rows at once, without a job: by any strategy, or the very rows of a job."""
    if out is not None and out.suffix.lower() not in SUFFIXES:
        raise typer.BadParameter(f"{out.name} ends in none of {', '.join(SUFFIXES)}", param_hint="--out")
    chosen: dict[str, Any] | None = None
    if strategy is not None:
        chosen = strategy_of(strategy, fit=fit, dataset=dataset, temperature=temperature, labels=labels)
    elif job is None:
        raise typer.BadParameter("say how latents are chosen, or name a --job", param_hint="--strategy")
    with Client() as client:
        shown = client.previews.create(
            model, strategy=chosen, rows=rows, seed=seed, indices=_numbers(indices), job=job, output=output
        )
        for warning in shown.data["warnings"]:
            say(f"warning: {warning}")
        if out is None:
            print_json(shown.data)
            return
        say(f"{shown.save(out)}: {len(shown)} rows (seed {shown.seed})")


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise typer.BadParameter(f"{text!r} is no list of row numbers, such as 0,5,9", param_hint="--indices")
    return [int(part) for part in parts]
