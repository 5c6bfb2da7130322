"""`latentmill fit` and `latentmill report`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

from latentmill.client import Client
from latentmill.commands.console import AsJson, print_json, print_warnings, say, spinner
from latentmill.resources import Fit

FamilyName = Literal["gaussian", "mixture", "empirical", "flow"]
ModelReference = Annotated[str, typer.Argument(metavar="MODEL", help="Id or name.")]
DatasetReference = Annotated[str, typer.Argument(metavar="DATASET", help="Id or name.")]


def fit(
    model: ModelReference,
    dataset: DatasetReference,
    family: Annotated[FamilyName, typer.Option(help="The kind of density.")] = "mixture",
    components: Annotated[str | None, typer.Option(help="mixture: a number or auto; empirical: or all.")] = None,
    covariance: Annotated[Literal["full", "diagonal"] | None, typer.Option(help="gaussian, mixture.")] = None,
    by_label: Annotated[bool, typer.Option("--by-label", help="One density per label.")] = False,
    holdout: Annotated[float | None, typer.Option(min=0, max=0.5, help="Share of rows that judge the fit.")] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    name: Annotated[str | None, typer.Option(help="A name to call it by instead of its id.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fit a density to what the encoder learned, and say what it gains over the prior."""
    wanted = family_of(family, components, covariance)
    with Client() as client:
        with spinner(f"fitting a {family} to {dataset} under {model}"):
            created = client.fits.create(
                model, dataset, family=wanted, by_label=by_label, holdout=holdout, seed=seed, name=name
            )
            fitted = created.wait()
    print_warnings(fitted)
    if as_json:
        print_json(fitted.data)
    else:
        _print_fit(fitted)


def report(
    model: ModelReference,
    dataset: DatasetReference,
    reference: Annotated[str | None, typer.Option(help="A dataset that the VAE never saw.")] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Rows made by each candidate.")] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    out: Annotated[Path | None, typer.Option(help="Write the page here, such as report.html.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure every strategy and recommend one."""
    with Client() as client:
        with spinner(f"measuring {model} on {dataset}"):
            measured = client.reports.create(model, dataset, reference=reference, rows=rows, seed=seed).wait()
        if out is not None:
            say(f"wrote {measured.save(out)}")
    if as_json:
        print_json(measured.data)
    else:
        recommendation = measured.data["recommendation"]
        Console().print(Text(f"{recommendation['strategy']}: {recommendation['reason']}"), soft_wrap=True)


def family_of(family: FamilyName, components: str | None, covariance: str | None) -> dict[str, Any]:
    """The family object that the options mean; the service checks it."""
    wanted: dict[str, Any] = {"kind": family}
    if components is not None:
        wanted["components"] = int(components) if components.isdecimal() else components
    if covariance is not None:
        wanted["covariance"] = covariance
    return wanted


def _print_fit(fit: Fit) -> None:
    console = Console()
    console.print(Text(f"{fit.id}  {fit.data['family']['kind']}  {fit.state}"), soft_wrap=True)
    for name, meaning in (("gain", "gain over the prior"), ("marginal_kl", "distance from the prior, at least")):
        measured = fit.diagnostics.get(name)
        if measured is not None and measured.get("value") is not None:
            error = measured.get("standard_error")
            spread = f" +- {error:.2g}" if error is not None else ""
            console.print(Text(f"{meaning}: {measured['value']:.4g}{spread} nats"), soft_wrap=True)
    console.print(Text(f"next: latentmill generate MODEL --strategy aggregate --fit {fit.id} --rows N"), soft_wrap=True)
