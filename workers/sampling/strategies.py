"""The strategies of a job: how its noise becomes latents."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import InvalidLabels, InvalidRequest, ModelMismatch, NotReady, NotYet
from latentmill.specs import Aggregate, Interpolate, Posterior, Prior, Strategy, VaeManifest
from latentmill.specs.strategies import Selection, SelectRows
from workers.posteriors.density import Density
from workers.posteriors.draws import posteriors_at
from workers.posteriors.encoding import Encoding
from workers.randomness.noise import normals, uniforms
from workers.randomness.streams import Stream
from workers.sampling.labels import CountedLabels, checked_counts, label_counts
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
    labels = _labels(strategy, rows, manifest, counts)
    if isinstance(strategy, Prior | Aggregate):
        if density is None:
            raise NotReady(f"The strategy {strategy.kind} needs a density to draw from.", pointer="/strategy")
        _refuse_other_size(density.latent_size, manifest)
        return LatentSource(DensityRows(density, seed, strategy.temperature, labels), density.latent_size)
    if isinstance(strategy, Posterior | Interpolate):
        if encoding is None:
            raise NotReady(
                f"The strategy {strategy.kind} needs an encoding to draw around.", pointer="/strategy/dataset"
            )
        _refuse_other_size(encoding.latent_size, manifest)
        return LatentSource(_encoded_rows(strategy, encoding, seed, rows, manifest, labels), encoding.latent_size)
    raise NotYet(f"The strategy {strategy.kind} is part of the contract, but not of this release.", pointer="/strategy")


def _encoded_rows(
    strategy: Posterior | Interpolate,
    encoding: Encoding,
    seed: int,
    rows: int,
    manifest: VaeManifest,
    labels: CountedLabels | None,
) -> Placement:
    """Rows around or between encoded ones, which keep the classes of those unless they are counted."""
    if isinstance(strategy, Interpolate):
        check_path(strategy, rows, encoding.rows)
        selected: Numbers | None = np.unique(strategy.pairs)
    else:
        selected = selected_rows(strategy.select, encoding)
    classes = None
    if labels is None and manifest.labels is not None:
        classes = _own_classes(encoding, selected, manifest.labels.classes)
    if isinstance(strategy, Interpolate):
        return PathRows(encoding, strategy, classes, labels)
    return PosteriorRows(encoding, selected, classes, seed, strategy.temperature, labels)


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


def _labels(
    strategy: Strategy, rows: int, manifest: VaeManifest, counts: Mapping[str, int] | None
) -> CountedLabels | None:
    """Counted labels for a conditional model; encoded rows keep their own unless told otherwise."""
    choice = getattr(strategy, "labels", None)
    if manifest.labels is None:
        if choice is not None or counts is not None:
            raise InvalidLabels("The model is not conditional: it has no labels.", pointer="/strategy/labels")
        return None
    classes = manifest.labels.classes
    if counts is not None:
        return CountedLabels(list(checked_counts(counts, classes, rows).values()))
    if choice is None and isinstance(strategy, Posterior | Interpolate):
        return None
    return CountedLabels(list(label_counts(choice, classes, rows).values()))


def _own_classes(encoding: Encoding, selected: Numbers | None, classes: tuple[str, ...]) -> Numbers:
    """The model's class number for each class number of the encoding; classes are matched by their text."""
    if encoding.labels is None:
        raise InvalidLabels("The model is conditional and the dataset has no labels.", pointer="/strategy/dataset")
    own = classes if encoding.classes is None else encoding.classes
    numbers = {name: number for number, name in enumerate(classes)}
    table = np.array([numbers.get(name, -1) for name in own], dtype=np.int64)
    used = np.unique(np.asarray(encoding.labels if selected is None else encoding.labels[selected]))
    missing = [own[number] for number in used if table[number] < 0]
    if missing:
        raise InvalidLabels(f"The model has no class {missing[0]!r}.", pointer="/strategy/dataset")
    return table


def _refuse_other_size(latent_size: int, manifest: VaeManifest) -> None:
    if latent_size != manifest.latent.size:
        raise ModelMismatch(
            f"The model has {manifest.latent.size} latent values, and what to draw from has {latent_size}.",
            pointer="/strategy",
        )
