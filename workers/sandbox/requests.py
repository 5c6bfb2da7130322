"""What a process that parses uploads is asked, and what it answers: lines of JSON, believed as far as checked."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from latentmill.errors import Problem
from latentmill.specs import DatasetColumn, MeasuredExecution, TableRows, VaeManifest
from workers.sandbox.bounds import SandboxBounds

MAX_WARNINGS = 100

Count = Annotated[int, Field(ge=0)]
Warnings = Annotated[list[Annotated[str, Field(max_length=2000)]], Field(max_length=MAX_WARNINGS)]


class Line(BaseModel):
    """One line, in either direction."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class InspectRequest(Line):
    """Open the bundle at `path`, try it, and measure it on the CPU."""

    kind: Literal["inspect"] = "inspect"
    path: Path
    sha256: str
    folder: Path
    threads: int
    limits: dict[str, int]  # of a BundleLimits: its module loads torch
    bounds: SandboxBounds

    @property
    def inputs(self) -> list[Path]:
        return [self.path]


class ReadRequest(Line):
    """Read the dataset at `path` into `folder`: rows.npy and perhaps labels.npy."""

    kind: Literal["read"] = "read"
    path: Path
    filename: str
    dataset_kind: Literal["rows", "latents"]
    label_column: str | None
    labels_path: Path | None
    labels_filename: str | None
    table: TableRows | None = None  # of the model that the rows are for
    folder: Path
    limits: dict[str, int]  # of a ReadLimits
    bounds: SandboxBounds

    @property
    def inputs(self) -> list[Path]:
        return [self.path, *([self.labels_path] if self.labels_path else [])]

    @property
    def rows_path(self) -> Path:
        return self.folder / "rows.npy"

    @property
    def classes_path(self) -> Path:
        """Where the labels lie as class numbers, if there are any."""
        return self.folder / "labels.npy"


Request = InspectRequest | ReadRequest
REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="kind")])


class InspectedBundle(Line):
    """A bundle that can be opened and run."""

    kind: Literal["inspected"] = "inspected"
    manifest: VaeManifest
    measured: MeasuredExecution | None  # on the CPU; none where not even 64 rows fit into the bound on memory
    warnings: Warnings


class ReadDataset(Line):
    """A dataset that was read. `labels` counts the rows of each class, in the order of the classes' numbers."""

    kind: Literal["read"] = "read"
    rows: Annotated[int, Field(ge=1)]
    row_shape: tuple[Annotated[int, Field(ge=1)], ...]
    dtype: Literal["uint8", "float32", "float64"]
    labels: dict[str, Count] | None
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    columns: list[str] | list[DatasetColumn] | None
    layout: Literal["HWC"] | None  # where the channel axis of images stands, where the file says it
    warnings: Warnings
    stacked: bool  # means and stds of latents, one beside the other

    @property
    def told_columns(self) -> list[Any] | None:
        """The columns as users are told them, in JSON."""
        if self.columns is None:
            return None
        return [column if isinstance(column, str) else column.canonical() for column in self.columns]


class Refused(Line):
    """An upload that cannot be used, or a fault of the surroundings."""

    kind: Literal["refused"] = "refused"
    problem: Problem


Answer = Annotated[InspectedBundle | ReadDataset | Refused, Field(discriminator="kind")]
ANSWER: TypeAdapter[Any] = TypeAdapter(Answer)
