"""The families: how each is learned, and how each becomes a density again."""

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from latentmill.specs import Family
from workers.posteriors.density import Density
from workers.posteriors.empirical import empirical_density
from workers.posteriors.empirical_fit import learn_empirical
from workers.posteriors.flow import flow_density
from workers.posteriors.flow_fit import learn_flow
from workers.posteriors.gaussian import gaussian_density
from workers.posteriors.gaussian_fit import learn_gaussian
from workers.posteriors.labelled import LABEL_WEIGHTS, labelled_density
from workers.posteriors.learning import Learned, Material, Progress
from workers.posteriors.mixture import mixture_density
from workers.posteriors.mixture_fit import learn_mixture

LEARNERS: dict[str, Callable[[Any, Material, Progress], Learned]] = {
    "gaussian": learn_gaussian,
    "mixture": learn_mixture,
    "empirical": learn_empirical,
    "flow": learn_flow,
}
DENSITIES: dict[str, Callable[[Mapping[str, NDArray[Any]]], Density]] = {
    "gaussian": gaussian_density,
    "mixture": mixture_density,
    "empirical": empirical_density,
    "flow": flow_density,
}


def learn(family: Family, material: Material, progress: Progress) -> Learned:
    """`family` fitted to `material`."""
    return LEARNERS[family.kind](family, material, progress)


def density_of(family: Family, parameters: Mapping[str, NDArray[Any]]) -> Density:
    """The density of a fit: of a fit by label, where weights of labels are among the parameters."""
    if LABEL_WEIGHTS in parameters:
        return labelled_density(parameters, DENSITIES[family.kind])
    return DENSITIES[family.kind](parameters)
