"""The closed vocabulary: everything a user can ask for, as frozen values that are stored and hashed."""

from latentmill.specs.bundle import VaeManifest
from latentmill.specs.candidates import Candidate, FittedCandidate
from latentmill.specs.datasets import DatasetColumn
from latentmill.specs.execution import BATCH_GRID, Execution, ExecutionRequest, MeasuredExecution
from latentmill.specs.families import Empirical, Family, Flow, Gaussian, Mixture
from latentmill.specs.requests import FitRequest, Format, JobRequest, PreviewRequest, ReportRequest
from latentmill.specs.rows import ImageRows, Rows, SeriesRows, TableRows, TensorRows
from latentmill.specs.spec import MAX_SEED, Spec, canonical_json, digest_of
from latentmill.specs.strategies import Aggregate, Auto, Interpolate, LabelCounts, Posterior, Prior, Strategy

__all__ = [
    "BATCH_GRID",
    "MAX_SEED",
    "Aggregate",
    "Auto",
    "Candidate",
    "DatasetColumn",
    "Empirical",
    "Execution",
    "ExecutionRequest",
    "Family",
    "FitRequest",
    "FittedCandidate",
    "Flow",
    "Format",
    "Gaussian",
    "ImageRows",
    "Interpolate",
    "JobRequest",
    "LabelCounts",
    "MeasuredExecution",
    "Mixture",
    "Posterior",
    "PreviewRequest",
    "Prior",
    "ReportRequest",
    "Rows",
    "SeriesRows",
    "Spec",
    "Strategy",
    "TableRows",
    "TensorRows",
    "VaeManifest",
    "canonical_json",
    "digest_of",
]
