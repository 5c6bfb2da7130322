"""What decoded bytes depend on, and what a job asks of it."""

from typing import Annotated, Literal

from pydantic import Field

from latentmill.specs.spec import Numeric, Spec

BATCH_GRID = 64  # batches are multiples of this many rows: below it kernels change shape, and with it bits


class Execution(Spec):
    """Everything that decoded bytes depend on. Resolved once per job and used by every shard of it."""

    device: Literal["cpu", "cuda"]
    device_name: str
    engine: str
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    layout: Literal["contiguous", "channels_last"] = "contiguous"
    batch_rows: Annotated[int, Field(ge=BATCH_GRID, multiple_of=BATCH_GRID)]
    threads: Annotated[int, Field(ge=1)]
    compiled: bool = False
    versions: dict[str, str]


class MeasuredExecution(Spec):
    """An execution that a worker tried on a model, with what it measured."""

    execution: Execution
    rows_per_s: Annotated[float, Field(gt=0)]
    bytes_per_row: Annotated[int, Field(ge=1)]


class ExecutionRequest(Spec):
    """What a job may ask of its execution; what it leaves out is chosen from the model's measurements."""

    device: Literal["cpu", "cuda"] | None = None
    batch_rows: Annotated[int, Field(ge=BATCH_GRID, le=65_536, multiple_of=BATCH_GRID), Numeric] | None = None
