"""All cells of the experiment: kinds of models x sizes of the upload x training seeds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.strategies import vaes
from benchmarks.strategies.advice import Adviser
from benchmarks.strategies.cell import Cell, Model, kept
from benchmarks.strategies.mnist import Digits, Split
from benchmarks.strategies.truth import Judge, yardstick

Result = dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """How large it is."""

    seeds: int = 5
    sizes: tuple[int, ...] = (500, 2_000, 10_000)
    epochs: int = vaes.EPOCHS


def measure(experiment: Experiment, digits: Split, cache: Path) -> list[Result]:
    """One result for each cell: its fits, the advice, and the distances on test digits."""
    features = yardstick(digits.training)
    results: list[Result] = []
    for recipe in vaes.recipes(experiment.seeds):
        bundle = vaes.trained(recipe, digits.training, cache / "models", epochs=experiment.epochs)
        model, folder = Model(recipe, bundle), cache / "cells" / recipe.key
        judge, adviser = Judge(model, digits.test, features), Adviser(model, digits.reference)
        of_model = kept(folder / "distances.json", judge.of_model)
        for size in experiment.sizes:
            cell = Cell(model, uploaded(digits.training, recipe, size), folder / str(size))
            results.append(_result(cell, judge, adviser, of_model))
            print(f"{recipe.key}, {size:,} rows: {results[-1]['distances']}", flush=True)
    return results


def check(experiment: Experiment, digits: Split, cache: Path) -> None:
    """Whole reports on the first seed's cells of the middle size: they must recommend what `advice` says."""
    for recipe in vaes.recipes(1):
        model = Model(recipe, vaes.trained(recipe, digits.training, cache / "models", epochs=experiment.epochs))
        adviser, size = Adviser(model, digits.reference), experiment.sizes[1]
        cell = Cell(model, uploaded(digits.training, recipe, size), cache / "cells" / recipe.key / str(size))
        for with_reference in (False, True):
            advised = adviser.advice(cell, with_reference=with_reference)
            reported = adviser.recommended_by_report(cell, with_reference=with_reference)
            said = (advised["choice"], advised["evidence"])
            if said != (reported["candidate"], reported["evidence"]):
                raise SystemExit(f"{recipe.key}: advice {said}, report {reported}")
            print(f"{recipe.key}, reference {with_reference}: the report says {said} too", flush=True)


def _result(cell: Cell, judge: Judge, adviser: Adviser, of_model: dict[str, list[float]]) -> Result:
    recipe = cell.model.recipe
    fits = cell.fits()
    own = {name: _distances(cell, judge, name) for name in cell.names}
    return {
        "kind": recipe.name,
        "beta": recipe.beta,
        "seed": recipe.seed,
        "size": cell.size,
        "fits": fits,
        "auto": kept(cell.folder / "auto.json", lambda: adviser.advice(cell, with_reference=False)),
        "auto with reference": kept(
            cell.folder / "auto-with-reference.json", lambda: adviser.advice(cell, with_reference=True)
        ),
        "distances": {"prior": of_model["prior"], **own},
        "floors": {name: of_model[name] for name in ("reconstructions", "real")},
    }


def _distances(cell: Cell, judge: Judge, name: str) -> list[float]:
    path = cell.folder / f"distances-{name.replace(' ', '-')}.json"
    return kept(path, lambda: {"distances": judge.distances(cell.density(name))})["distances"]


def uploaded(training: Digits, recipe: vaes.Recipe, size: int) -> Digits:
    """`size` of the rows that the VAE trained on, others for each training seed."""
    first = recipe.seed * 10_000
    return training[first : first + size]
