"""One cell of the experiment: a model and so many rows that a user uploads; every fit of them, kept in a folder."""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter

from benchmarks.strategies.mnist import Digits, Images
from benchmarks.strategies.vaes import Recipe
from latentmill.specs import Aggregate, Empirical, Family, FitRequest, Flow, Gaussian, Mixture, Posterior, Prior
from workers.generation import encode_dataset
from workers.models import load_vae, open_bundle
from workers.posteriors.density import Density
from workers.posteriors.encoding import Encoding, open_encoding
from workers.posteriors.families import density_of, learn
from workers.posteriors.judging import judge
from workers.posteriors.learning import Material
from workers.posteriors.measurement import measure
from workers.posteriors.prior import declared_prior
from workers.posteriors.split import split_rows
from workers.rows import codec
from workers.sampling import LatentSource, open_strategy

FAMILIES: dict[str, Family] = {
    "gaussian diagonal": Gaussian(covariance="diagonal"),
    "gaussian": Gaussian(),
    "mixture": Mixture(),
    "flow": Flow(),
    "empirical": Empirical(),
}
SEED = 0
HOLDOUT = FitRequest.model_fields["holdout"].default
DECODE_ROWS = 1000
_FAMILY: TypeAdapter[Family] = TypeAdapter(Family)


@dataclass(frozen=True, eq=False)
class Model:
    """A trained bundle, and how to encode and decode with it."""

    recipe: Recipe
    path: Path

    @cached_property
    def vae(self):
        return load_vae(open_bundle(self.path), inspected=True)

    @cached_property
    def prior(self) -> Density:
        return declared_prior(self.vae.manifest, self.vae.prior_parameters)

    def drawn(self, density: Density | None, rows: int, seed: int) -> Images:
        """Rows of a fit, or without one of the prior, as a job delivers them."""
        strategy = Prior() if density is None else Aggregate(fit="fit")
        return self.decoded(self._source(strategy, rows, seed, density=density or self.prior).latents(0, rows).latents)

    def reconstructed(self, encoding: Encoding, rows: NDArray[np.int64], seed: int) -> Images:
        """Decoded draws from the posteriors of the named rows."""
        chosen = Encoding(encoding.mean[rows], encoding.std[rows], None, encoding.row_digests[rows])
        source = self._source(Posterior(dataset="rows"), len(rows), seed, encoding=chosen)
        return self.decoded(source.latents(0, len(rows)).latents)

    def decoded(self, latents: NDArray[np.floating]) -> Images:
        """The rows that a job would deliver for latents (n, D)."""
        batches = torch.from_numpy(latents.astype(np.float32)).split(DECODE_ROWS)
        delivered = codec(self.vae.manifest.rows).delivered
        return np.concatenate([delivered(self.vae.decode(batch)).values["rows"] for batch in batches])

    def _source(self, strategy, rows: int, seed: int, **given: Any) -> LatentSource:
        return open_strategy(strategy, seed=seed, rows=rows, manifest=self.vae.manifest, **given)


def encoded(model: Model, digits: Digits, *, labelled: bool = False) -> Encoding:
    """The posteriors of digits, with their labels or without."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "encoding"
        encode_dataset(
            model.vae,
            digits.images,
            digits.labels.astype(np.int32) if labelled else None,
            path,
            classes=tuple("0123456789") if labelled else None,
            batch_rows=DECODE_ROWS,
            head_test=lambda *_: [],
            check=go_on,
            progress=lambda _: None,
        )
        return open_encoding(path)  # the open map keeps what it needs


@dataclass(frozen=True, eq=False)
class Cell:
    """A model, the rows that are uploaded, and where everything about them is kept."""

    model: Model
    uploaded: Digits
    folder: Path

    @property
    def size(self) -> int:
        return len(self.uploaded)

    @cached_property
    def encoding(self) -> Encoding:
        return encoded(self.model, self.uploaded)

    @property
    def names(self) -> list[str]:
        """The fits that exist for this model: an encoder without noise has no empirical one."""
        return [name for name in FAMILIES if name != "empirical" or self.model.recipe.beta is not None]

    def fits(self) -> dict[str, dict[str, Any]]:
        """What each fit says of itself: its resolved family, its diagnostics, its seconds."""
        return {name: kept(self._path(name, "json"), lambda name=name: self._fit(name)) for name in self.names}

    def family(self, name: str) -> Family:
        """The family of a fit, with nothing left open."""
        return _FAMILY.validate_python(self.fits()[name]["family"])

    def density(self, name: str) -> Density:
        """The density of a fit."""
        family = self.family(name)  # fits first, where that has not been done
        with np.load(self._path(name, "npz")) as parameters:
            return density_of(family, dict(parameters))

    @cached_property
    def _material(self) -> Material:
        """What fits learn from, as `fit_posterior` makes it of a request without options."""
        split = split_rows(self.encoding.row_digests, None, seed=SEED, holdout=HOLDOUT)
        measured = measure(self.encoding, split, full=True, check=go_on)
        active = np.setdiff1d(np.arange(self.encoding.latent_size), measured.inert_dimensions())
        return Material(self.encoding, split, measured, active, SEED, go_on)

    def _fit(self, name: str) -> dict[str, Any]:
        """A fit without the diagnostics that explain it, which would take most of the time."""
        learned = learn(FAMILIES[name], self._material, lambda _: None)
        judgement = judge(self._material, learned.judged, self.model.prior, name=name, conditional=False)
        np.savez(self._path(name, "npz"), **learned.parameters)
        rate = float(self._material.measured.rate.sum())
        return {
            "family": learned.family.model_dump(),
            "gain": judgement.as_json()["gain"],
            "mean_kl": rate if np.isfinite(rate) else None,
            "warnings": learned.warnings,
        }

    def _path(self, name: str, suffix: str) -> Path:
        return self.folder / f"fit-{name.replace(' ', '-')}.{suffix}"


def go_on() -> None:
    """Nobody stops a benchmark."""


def kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` gives, from `path` or made and put there: an interrupted run goes on where it was."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        started = time.process_time()
        made = make()
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps({"cpu_seconds": time.process_time() - started, "made": made}, indent=1))
        unfinished.rename(path)
    result: dict[str, Any] = json.loads(path.read_text())["made"]
    return result


def cpu_seconds(folder: Path) -> float:
    """What everything that is kept below `folder` took."""
    return sum(json.loads(path.read_text())["cpu_seconds"] for path in folder.rglob("*.json"))
