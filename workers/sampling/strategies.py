"""The strategies of a job: how its noise becomes latents."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import Internal, InvalidLabels, InvalidRequest, ModelMismatch, NotReady
from latentmill.specs import Aggregate, Interpolate, Posterior, Prior, Strategy, VaeManifest
from latentmill.specs.strategies import Selection, SelectRows
from workers.posteriors.density import Density
from workers.posteriors.draws import posteriors_at
from workers.posteriors.encoding import Encoding
from workers.posteriors.labelled import LabelledDensity
from workers.randomness.noise import normals, uniforms
from workers.randomness.streams import Stream
from workers.sampling.labels import CountedLabels, classes_of, counts_of, own_classes, parts_of
from workers.sampling.latents import LatentSource, Placement
from workers.sampling.paths import PathRows, check_path

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


def open_strategy(
    strategy: Strategy,
    *,
    seed: int,
    rows: int,
    manifest: VaeManifest,
    density: Density | None = None,
    encoding: Encoding | None = None,
    counts: Mapping[str, int] | None = None,
) -> LatentSource:
    """The latents of a job of `rows` rows.

    `density` is what prior and aggregate draw from, `encoding` what posterior and interpolate go by; `counts` are
    the job's rows per class where they were resolved before, otherwise the strategy's own labels say.
    """
    if isinstance(strategy, Prior | Aggregate):
        if density is None:
            raise NotReady(f"The strategy {strategy.kind} needs a density to draw from.", pointer="/strategy")
        _refuse_other_size(density.latent_size, manifest)
        classes = classes_of(manifest, density)
        shares = counts_of(strategy, rows, classes, density=density, encoding=None, counts=counts)
        return LatentSource(
            _density_rows(density, seed, strategy.temperature, classes, shares), density.latent_size, classes
        )
    if isinstance(strategy, Posterior | Interpolate):
        if encoding is None:
            raise NotReady(
                f"The strategy {strategy.kind} needs an encoding to draw around.", pointer="/strategy/dataset"
            )
        _refuse_other_size(encoding.latent_size, manifest)
        classes = classes_of(manifest, None)
        shares = counts_of(strategy, rows, classes, density=None, encoding=encoding, counts=counts)
        labels = None if shares is None else CountedLabels(list(shares.values()))
        placement = _encoded_rows(strategy, encoding, seed, rows, classes, labels)
        return LatentSource(placement, encoding.latent_size, classes)
    raise Internal(f"The strategy {strategy.kind} was to be resolved before rows are drawn by it.")


def _density_rows(
    density: Density,
    seed: int,
    temperature: float,
    classes: Sequence[str] | None,
    shares: Mapping[str, int] | None,
) -> Placement:
    if classes is None or shares is None:
        return DensityRows(density, seed, temperature, None)
    labels = CountedLabels(list(shares.values()))
    if isinstance(density, LabelledDensity):
        return LabelledRows(density, seed, temperature, labels, parts_of(density, classes, shares))
    return DensityRows(density, seed, temperature, labels)


def _encoded_rows(
    strategy: Posterior | Interpolate,
    encoding: Encoding,
    seed: int,
    rows: int,
    classes: Sequence[str] | None,
    labels: CountedLabels | None,
) -> Placement:
    """Rows around or between encoded ones, which keep the classes of those unless they are counted."""
    if isinstance(strategy, Interpolate):
        check_path(strategy, rows, encoding.rows)
        selected: Numbers | None = np.unique(strategy.pairs)
    else:
        selected = selected_rows(strategy.select, encoding)
    own = None if labels is not None or classes is None else own_classes(encoding, selected, classes)
    if isinstance(strategy, Interpolate):
        return PathRows(encoding, strategy, own, labels)
    return PosteriorRows(encoding, selected, own, seed, strategy.temperature, labels)


class DensityRows:
    """Draws from a density: the latents of row i are its map of the noise of row i."""

    def __init__(self, density: Density, seed: int, temperature: float, labels: CountedLabels | None) -> None:
        self.density, self.seed, self.temperature, self.labels = density, seed, temperature, labels

    def place(self, first_row: int, rows: int) -> tuple[Floats, Numbers | None]:
        """Latents and labels of a whole block."""
        noise = normals(self.seed, Stream.LATENTS, first_row, rows, self.density.latent_size)
        choices = uniforms(self.seed, Stream.CHOICES, first_row, rows) if self.density.needs_choice else None
        labels = None if self.labels is None else self.labels.of_rows(first_row, rows)
        return self.density.draw(noise, choices, self.temperature), labels


class LabelledRows:
    """Draws from a density by label: row i is drawn from the part of its label, `parts` of the class's number."""

    def __init__(
        self, density: LabelledDensity, seed: int, temperature: float, labels: CountedLabels, parts: Numbers
    ) -> None:
        self.density, self.seed, self.temperature = density, seed, temperature
        self.labels, self.parts = labels, parts

    def place(self, first_row: int, rows: int) -> tuple[Floats, Numbers | None]:
        """Latents and labels of a whole block."""
        noise = normals(self.seed, Stream.LATENTS, first_row, rows, self.density.latent_size)
        choices = uniforms(self.seed, Stream.CHOICES, first_row, rows)
        labels = self.labels.of_rows(first_row, rows)
        return self.density.draw_given(self.parts[labels], noise, choices, self.temperature), labels


class PosteriorRows:
    """z = mean(x) + t * std(x) * e around the selected rows, taken in turn; t = 0 reconstructs.

    Without counted labels a row keeps the class of the row it is drawn around.
    """

    def __init__(
        self,
        encoding: Encoding,
        selected: Numbers | None,
        classes: Numbers | None,
        seed: int,
        temperature: float,
        labels: CountedLabels | None,
    ) -> None:
        self.encoding, self.selected, self.classes = encoding, selected, classes
        self.seed, self.temperature, self.labels = seed, temperature, labels

    def place(self, first_row: int, rows: int) -> tuple[Floats, Numbers | None]:
        """Latents and labels of a whole block."""
        number = self.encoding.rows if self.selected is None else len(self.selected)
        turns = np.arange(first_row, first_row + rows, dtype=np.int64) % number
        around = turns if self.selected is None else self.selected[turns]
        mean, std = posteriors_at(self.encoding, around)
        if self.temperature > 0:
            noise = normals(self.seed, Stream.LATENTS, first_row, rows, self.encoding.latent_size)
            mean += self.temperature * std * noise
        if self.labels is not None:
            return mean, self.labels.of_rows(first_row, rows)
        if self.classes is None or self.encoding.labels is None:
            return mean, None
        return mean, self.classes[np.asarray(self.encoding.labels[around])]


def selected_rows(select: Selection, encoding: Encoding) -> Numbers | None:
    """The row numbers that `select` names; None for all of them."""
    if select == "all":
        return None
    if isinstance(select, SelectRows):
        rows = np.array(select.rows, dtype=np.int64)
        if rows.max() >= encoding.rows:
            raise InvalidRequest(
                f"Row {rows.max():,} is selected; the dataset has rows 0 to {encoding.rows - 1:,}.",
                pointer="/strategy/select/rows",
            )
        return rows
    if encoding.labels is None or encoding.classes is None:
        raise InvalidLabels("The dataset has no labels to select by.", pointer="/strategy/select/label")
    if select.label not in encoding.classes:
        raise InvalidLabels(f"The dataset has no label {select.label!r}.", pointer="/strategy/select/label")
    rows = np.flatnonzero(np.asarray(encoding.labels) == encoding.classes.index(select.label))
    if len(rows) == 0:
        raise InvalidLabels(f"No row of the dataset has the label {select.label!r}.", pointer="/strategy/select/label")
    return rows.astype(np.int64)


def _refuse_other_size(latent_size: int, manifest: VaeManifest) -> None:
    if latent_size != manifest.latent.size:
        raise ModelMismatch(
            f"The model has {manifest.latent.size} latent values, and what to draw from has {latent_size}.",
            pointer="/strategy",
        )
