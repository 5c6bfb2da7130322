"""Fits the empirical family: there is nothing to learn but which rows are kept."""

import numpy as np

from latentmill.errors import DataError, LimitExceeded
from latentmill.specs import Empirical
from workers.posteriors.empirical import EmpiricalDensity
from workers.posteriors.learning import PRIOR_WARNING, Learned, Material, Progress

MAX_VALUES = 2**28  # of means and stds together: 1 GiB of parameters


def learn_empirical(family: Empirical, material: Material, _: Progress) -> Learned:
    """The posteriors of the rows that judge nothing, or of `components` of them, which the split's hash chooses."""
    encoding, active = material.encoding, material.active
    if not material.measured.has_std:
        raise _no_std(material)
    if len(active) == 0:
        nothing = EmpiricalDensity(
            np.zeros((1, encoding.latent_size), np.float32), np.ones((1, encoding.latent_size), np.float32)
        )
        return _learned(family.model_copy(update={"components": 1}), nothing, 0, [PRIOR_WARNING])
    rows = material.split.training
    count = len(rows) if family.components == "all" else family.components
    if count > len(rows):
        raise DataError(
            f'{count:,} components for {len(rows):,} rows that are not held out; take fewer, or "all".',
            pointer="/family/components",
        )
    refuse_too_large(count, encoding.latent_size)
    kept = np.sort(rows[:count])
    means, stds = np.array(encoding.mean[kept]), np.array(encoding.std[kept])
    stds *= np.float32(family.bandwidth)
    inert = np.setdiff1d(np.arange(encoding.latent_size), active)
    means[:, inert], stds[:, inert] = 0.0, 1.0
    return _learned(family, EmpiricalDensity(means, stds), count, [])


def refuse_too_large(components: int, latent_size: int) -> None:
    """All means and stds are held in memory by whoever draws from them."""
    if 2 * components * latent_size > MAX_VALUES:
        raise LimitExceeded(
            f"{components:,} components of {latent_size:,} latent values are more than the {MAX_VALUES:,} that a fit "
            f'may have; take "components": {MAX_VALUES // (2 * latent_size)} or fewer, or the strategy posterior.',
            pointer="/family/components",
        )


def _learned(family: Empirical, density: EmpiricalDensity, rows: int, warnings: list[str]) -> Learned:
    parameters = {"means": density.means, "stds": density.stds}
    return Learned(family, parameters, density, rows, 0.0, warnings)


def _no_std(material: Material) -> DataError:
    deterministic = not np.any(material.measured.all_rows.noise > 0)
    found = "The encoder gives no std" if deterministic else "Some rows have a std of 0"
    return DataError(
        f"{found}, so there is nothing to draw around a row, and no density; take the family gaussian, mixture or "
        "flow, or the strategy posterior, which repeats the rows' means.",
        pointer="/family/kind",
    )
