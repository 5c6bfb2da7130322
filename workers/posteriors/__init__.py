"""The aggregate posterior: encodings of rows, and densities fitted to them."""

from workers.posteriors.density import Density
from workers.posteriors.encoding import Encoding, EncodingWriter, open_encoding, save_encoding
from workers.posteriors.estimate import Estimate
from workers.posteriors.families import density_of
from workers.posteriors.fit import FittedPosterior, fit_posterior
from workers.posteriors.labelled import LabelledDensity
from workers.posteriors.prior import declared_prior, standard_normal

__all__ = [
    "Density",
    "Encoding",
    "EncodingWriter",
    "Estimate",
    "FittedPosterior",
    "LabelledDensity",
    "declared_prior",
    "density_of",
    "fit_posterior",
    "open_encoding",
    "save_encoding",
    "standard_normal",
]
