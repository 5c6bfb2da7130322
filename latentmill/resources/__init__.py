"""The nouns of the service as the client sees them."""

from latentmill.resources.datasets import Dataset, Datasets
from latentmill.resources.fits import Fit, Fits
from latentmill.resources.jobs import Job, Jobs
from latentmill.resources.models import Model, Models
from latentmill.resources.previews import Preview, Previews
from latentmill.resources.reports import Report, Reports

__all__ = [
    "Dataset",
    "Datasets",
    "Fit",
    "Fits",
    "Job",
    "Jobs",
    "Model",
    "Models",
    "Preview",
    "Previews",
    "Report",
    "Reports",
]
