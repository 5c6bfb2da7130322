"""`latentmill fit` and `latentmill fits`."""

from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

from latentmill.client import Client
from latentmill.commands.console import (
    AsJson,
    Limit,
    print_json,
    print_list,
    print_resource,
    print_warnings,
    say,
    spinner,
)
from latentmill.commands.diagnostics import readable_diagnostics
from latentmill.resources import Fit

app = typer.Typer(help="Fits: list, show, delete; `latentmill fit` makes one.", no_args_is_help=True)

CLEAR = 3.0  # standard errors
WORDS = {"components": ("auto", "all"), "epochs": ("auto",)}  # what may stand for a number
FamilyName = Literal["gaussian", "mixture", "empirical", "flow"]
ModelReference = Annotated[str, typer.Argument(metavar="MODEL", help="Id or name.")]
DatasetReference = Annotated[str, typer.Argument(metavar="DATASET", help="Id or name.")]
FitReference = Annotated[str, typer.Argument(metavar="FIT", help="Id or name.")]


@app.command("list")
def list_fits(
    model: Annotated[str | None, typer.Option(help="Only fits of this model.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only fits to this dataset.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List fits, newest first."""
    with Client() as client:
        fits = client.fits.list(limit, model=model, dataset=dataset)
        print_list(fits, {"family": "family", "gain, nats": "diagnostics.gain.value"}, as_json)


@app.command()
def show(fit: FitReference, as_json: AsJson = False) -> None:
    """Show one fit: family, gain, diagnostics."""
    with Client() as client:
        found = client.fits.get(fit)
    own = {name: value for name, value in found.data.items() if name != "diagnostics"}
    print_resource(found, as_json, readable={**own, **readable_diagnostics(found.diagnostics)})


@app.command()
def delete(fit: FitReference) -> None:
    """Delete a fit that no live job needs."""
    with Client() as client:
        client.fits.delete(fit)
    say(f"deleted {fit}")


def fit(
    model: ModelReference,
    dataset: DatasetReference,
    family: Annotated[FamilyName, typer.Option(help="The kind of density.")] = "mixture",
    components: Annotated[str | None, typer.Option(help="mixture: a number or auto; empirical: or all.")] = None,
    covariance: Annotated[Literal["full", "diagonal"] | None, typer.Option(help="gaussian, mixture.")] = None,
    bandwidth: Annotated[float | None, typer.Option(help="empirical: what widens each row's std.")] = None,
    transforms: Annotated[int | None, typer.Option(help="flow: its couplings.")] = None,
    hidden: Annotated[int | None, typer.Option(help="flow: the width of its networks.")] = None,
    epochs: Annotated[str | None, typer.Option(help="flow: a number or auto.")] = None,
    by_label: Annotated[bool, typer.Option("--by-label", help="One density per label.")] = False,
    holdout: Annotated[float | None, typer.Option(min=0, max=0.5, help="Share of rows that judge the fit.")] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    name: Annotated[str | None, typer.Option(help="A name to call it by instead of its id.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fit a density to what the encoder learned, and say what it gains over the prior."""
    wanted = family_of(
        family, components=components, covariance=covariance, bandwidth=bandwidth, transforms=transforms, hidden=hidden,
        epochs=epochs,
    )  # fmt: skip
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
        _print_fit(fitted, model)


def family_of(family: FamilyName, **options: str | float | None) -> dict[str, Any]:
    """The family object that the options mean, those left out being the service's choice; the service checks it."""
    wanted: dict[str, Any] = {"kind": family}
    for name, value in options.items():
        if value is not None:
            wanted[name] = _number_or_word(name, value) if name in WORDS else value
    return wanted


def _number_or_word(name: str, value: str | float) -> int | str:
    text = str(value)
    if not text.isdecimal() and text not in WORDS[name]:
        raise typer.BadParameter(f"{text!r} is no number, nor {' or '.join(WORDS[name])}", param_hint=f"--{name}")
    return int(text) if text.isdecimal() else text


def _print_fit(fit: Fit, model: str) -> None:
    console = Console()
    family = fit.data["family"]
    parts = f" of {family['components']} components" if family.get("components") else ""
    parts += " by label" if fit.data.get("by_label") else ""
    console.print(Text(f"{fit.id}  {family['kind']}{parts}  {fit.state}"), soft_wrap=True)
    gain = fit.diagnostics.get("gain") or {}
    if gain.get("value") is not None:
        value, error = gain["value"], gain.get("standard_error") or 0.0
        over = fit.diagnostics.get("gain_over", "prior")
        if fit.warnings:
            advice = "mind the warnings before you use it"
        elif value > CLEAR * error:
            advice = "draw from this fit"
        else:
            advice = f"no clear gain, the {over} serves as well"
        console.print(
            Text(f"gain over the {over}: {value:.4g} ± {error:.2g} nats per held-out row ({advice})"), soft_wrap=True
        )
    wanted = f"--strategy aggregate --fit {fit.name or fit.id} --rows N --out DIR"
    console.print(Text(f"next: latentmill generate {model} {wanted}"), soft_wrap=True)
