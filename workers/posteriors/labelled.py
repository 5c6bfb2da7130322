"""One density per label, and their mixture by the frequencies of the labels."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from workers.posteriors.density import Density

LABEL_WEIGHTS = "label_weights"
PREFIX = "label."

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


class LabelledDensity:
    """f(z) = sum_y w_y f(z|y). Labels are numbers into `classes`, which are sorted by their text."""

    needs_choice = True

    def __init__(self, classes: Sequence[str], weights: Floats, parts: Sequence[Density]) -> None:
        if list(classes) != sorted(classes) or not len(classes) == len(weights) == len(parts):
            raise ValueError("a weight and a density for each of the sorted classes are needed")
        self.classes, self.weights, self.parts = tuple(classes), weights / weights.sum(), list(parts)
        self._borders = np.cumsum(self.weights)
        self._borders[-1] = 1.0  # the sum may round below a uniform

    @property
    def latent_size(self) -> int:
        return self.parts[0].latent_size

    def draw(self, normals: Floats, uniforms: Floats | None, temperature: float = 1.0) -> Floats:
        """Latents (n, D): the uniform chooses the label, and what is left of it is the uniform of the label's part."""
        if uniforms is None:
            raise ValueError("uniforms are needed to choose labels")
        labels = np.searchsorted(self._borders, uniforms, side="right")
        starts = np.concatenate([[0.0], self._borders[:-1]])
        widths = self._borders - starts
        rest = (uniforms - starts[labels]) / widths[labels]
        # The quotient may round to 1, which is no uniform of [0, 1).
        return self.draw_given(labels, normals, np.minimum(rest, np.nextafter(1.0, 0.0)), temperature)

    def draw_given(self, labels: Numbers, normals: Floats, uniforms: Floats | None, temperature: float = 1.0) -> Floats:
        """Latents (n, D) of the given labels (n,); uniforms are needed where a part makes a choice."""
        latents = np.empty_like(normals)
        for part, rows in self._by_part(labels):
            chosen = uniforms[rows] if part.needs_choice and uniforms is not None else None
            latents[rows] = part.draw(normals[rows], chosen, temperature)
        return latents

    def log_density(self, latents: Floats) -> Floats:
        """ln sum_y w_y f(z|y), (n,)."""
        with np.errstate(divide="ignore"):  # a label of weight 0 adds nothing
            log_weights = np.log(self.weights)
        joint = np.empty((len(self.parts), len(latents)))
        for number, part in enumerate(self.parts):
            joint[number] = log_weights[number] + part.log_density(latents)
        result: Floats = logsumexp(joint, axis=0)
        return result

    def log_density_given(self, latents: Floats, labels: Numbers) -> Floats:
        """ln f(z|y), (n,), for latents (n, D) and labels (n,)."""
        result = np.empty(len(latents))
        for part, rows in self._by_part(labels):
            result[rows] = part.log_density(latents[rows])
        return result

    def _by_part(self, labels: Numbers) -> Iterator[tuple[Density, Numbers]]:
        for label in np.unique(labels):
            yield self.parts[label], np.flatnonzero(labels == label)


def labelled_parameters(weights: Mapping[str, float], parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """`label.<c>.<name>` for each class and parameter, and `label_weights` in the order of the sorted classes."""
    classes = sorted(weights)
    named = {f"{PREFIX}{name}.{key}": array for name in classes for key, array in parts[name].items()}
    return {LABEL_WEIGHTS: np.array([weights[name] for name in classes]), **named}


def labelled_density(
    parameters: Mapping[str, NDArray[Any]], density: Callable[[Mapping[str, NDArray[Any]]], Density]
) -> LabelledDensity:
    """The density with these parameters, whose parts `density` makes."""
    parts: dict[str, dict[str, NDArray[Any]]] = {}
    for name, array in parameters.items():
        if name != LABEL_WEIGHTS:
            label, _, key = name.removeprefix(PREFIX).rpartition(".")  # a class may have dots, a parameter has none
            parts.setdefault(label, {})[key] = array
    classes = sorted(parts)
    weights = np.asarray(parameters[LABEL_WEIGHTS], dtype=np.float64)
    return LabelledDensity(classes, weights, [density(parts[name]) for name in classes])
