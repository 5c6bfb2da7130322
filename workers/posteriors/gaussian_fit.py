"""Fits a Gaussian: the exact moments of the aggregate posterior."""

import numpy as np

from latentmill.specs import Gaussian
from workers.posteriors.density import Density
from workers.posteriors.encoding import Encoding
from workers.posteriors.gaussian import gaussian_density, gaussian_parameters
from workers.posteriors.learning import Learned, Material, Progress, learning_rows
from workers.posteriors.moments import Moments
from workers.posteriors.shrinkage import shrinkage_of
from workers.posteriors.split import Split


def learn_gaussian(family: Gaussian, material: Material, _: Progress) -> Learned:
    """Serves the moments of all rows; its twin without the held-out rows is judged."""
    encoding, split, measured = material.encoding, material.split, material.measured
    full, rows = family.covariance == "full", learning_rows(family, split)
    shrinkage = shrinkage_of(encoding, np.sort(rows), measured.all_rows) if full else 0.0
    served = gaussian_parameters(measured.all_rows, family.covariance, shrinkage)
    judged = twin_of(encoding, split, measured.training, family)
    return Learned(family, served, judged, len(rows), shrinkage, [])


def twin_of(encoding: Encoding, split: Split, training: Moments, family: Gaussian) -> Density:
    """The same Gaussian without the held-out rows, from the moments of the training rows."""
    shrinkage = shrinkage_of(encoding, np.sort(split.training), training) if family.covariance == "full" else 0.0
    return gaussian_density(gaussian_parameters(training, family.covariance, shrinkage))
