"""The bodies of creating requests."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, StrictBool

from latentmill.specs.candidates import Candidates
from latentmill.specs.execution import ExecutionRequest
from latentmill.specs.expiry import Expiry
from latentmill.specs.families import Family
from latentmill.specs.spec import MAX_SEED, Numeric, Spec
from latentmill.specs.strategies import Reference, Strategy

Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f/]+$")]
NAME_RULE = "A name has 1 to 128 characters, without slashes and control characters."
HoldoutFraction = Annotated[float, Field(ge=0, le=0.5, allow_inf_nan=False), Numeric]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED), Numeric]
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]
MAX_PREVIEW_ROWS = 64
Format = Literal["npz", "parquet", "safetensors", "csv", "webdataset", "mds"]


class FitRequest(Spec):
    """Fit `family` to the aggregate posterior of `dataset` under `model`."""

    version: ClassVar[int] = 2  # 2: the split of labelled rows is stratified

    model: Reference
    dataset: Reference
    family: Family
    by_label: StrictBool = False
    holdout: HoldoutFraction = 0.1
    seed: Seed = 0
    name: Name | None = None
    metadata: Metadata = {}


def _some_held_out(holdout: float) -> float:
    if holdout == 0:
        raise ValueError("with holdout 0 there are no rows to compare the candidates on; leave it out for 0.1")
    return holdout


class ReportRequest(Spec):
    """Compare `candidates` on held-out rows of `dataset` under `model`, and recommend one.

    `reference` is a dataset that the VAE never saw: its rows then take the place of the held-out ones.
    """

    model: Reference
    dataset: Reference
    reference: Reference | None = None
    candidates: Candidates = "default"
    rows: Annotated[int, Field(ge=20, le=50_000), Numeric] = 2000
    seed: Seed = 0
    holdout: Annotated[
        float,
        Field(ge=0, le=0.5, allow_inf_nan=False, json_schema_extra={"exclusiveMinimum": 0}),
        Numeric,
        AfterValidator(_some_held_out),
    ] = 0.1
    name: Name | None = None
    metadata: Metadata = {}


class JobRequest(Spec):
    """Make `rows` rows."""

    model: Reference
    strategy: Strategy
    rows: Annotated[int, Field(ge=1, le=10**12), Numeric]
    seed: Seed | None = None
    format: Format | None = None
    shard_rows: Annotated[int, Field(ge=1), Numeric] | None = None
    output: Literal["mean", "sample"] = "mean"
    include_latents: StrictBool = False
    execution: ExecutionRequest | None = None
    priority: Annotated[int, Field(ge=0, le=9), Numeric] = 5
    name: Name | None = None
    metadata: Metadata = {}


class JobSubmission(JobRequest, Expiry):
    """A job as it is asked for: what to make, and when to delete it with its files."""

    def job(self) -> JobRequest:
        """What to make."""
        return JobRequest.model_construct(**{name: getattr(self, name) for name in JobRequest.model_fields})


class PreviewRequest(Spec):
    """Show a few rows at once: of a strategy, or the very rows of a job.

    `indices` says which rows, counted from 0 as a job counts them; without it they are the first `rows`. With `job`
    its model, strategy, seed and output hold, and what is given beside it must say the same.
    """

    model: Reference | None = None
    strategy: Strategy | None = None
    rows: Annotated[int, Field(ge=1, le=MAX_PREVIEW_ROWS), Numeric] | None = None
    seed: Seed | None = None
    indices: (
        Annotated[
            tuple[Annotated[int, Field(ge=0, lt=10**12), Numeric], ...],
            Field(min_length=1, max_length=MAX_PREVIEW_ROWS),
        ]
        | None
    ) = None
    job: Reference | None = None
    output: Literal["mean", "sample"] | None = None
    include_latents: StrictBool = False
