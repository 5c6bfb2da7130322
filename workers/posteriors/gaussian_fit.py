"""Fits a Gaussian: the exact moments of the aggregate posterior."""

import numpy as np

from latentmill.specs import Gaussian
from workers.posteriors.gaussian import gaussian_density, gaussian_parameters
from workers.posteriors.learning import Learned, Material, Progress, learning_rows
from workers.posteriors.shrinkage import shrinkage_of


def learn_gaussian(family: Gaussian, material: Material, _: Progress) -> Learned:
    """Serves the moments of all rows; its twin without the held-out rows is judged."""
    encoding, split, measured = material.encoding, material.split, material.measured
    full, rows = family.covariance == "full", learning_rows(family, split)
    shrinkage = shrinkage_of(encoding, np.sort(rows), measured.all_rows) if full else 0.0
    served = gaussian_parameters(measured.all_rows, family.covariance, shrinkage)
    twin_shrinkage = shrinkage_of(encoding, np.sort(split.training), measured.training) if full else 0.0
    judged = gaussian_density(gaussian_parameters(measured.training, family.covariance, twin_shrinkage))
    return Learned(family, served, judged, len(rows), shrinkage, [])
