"""How a job chooses its latents."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from latentmill.specs.spec import Spec

Temperature = Annotated[float, Field(gt=0, le=2, allow_inf_nan=False)]
Reference = Annotated[str, Field(min_length=1, max_length=128)]  # an id, or a unique name


class LabelCounts(Spec):
    """So many rows of each label; they must add up to the job's rows."""

    counts: dict[str, Annotated[int, Field(ge=0)]]


LabelChoice = LabelCounts | Literal["balanced", "as_fitted"]


class Prior(Spec):
    """Draws from the prior that the bundle declares."""

    kind: Literal["prior"] = "prior"
    temperature: Temperature = 1.0
    labels: LabelChoice | None = None


class Aggregate(Spec):
    """Draws from a fit."""

    kind: Literal["aggregate"] = "aggregate"
    fit: Reference
    temperature: Temperature = 1.0
    labels: LabelChoice | None = None


class SelectRows(Spec):
    rows: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1, max_length=10_000)]


class SelectLabel(Spec):
    label: str


Selection = SelectRows | SelectLabel | Literal["all"]


class Posterior(Spec):
    """Draws around encoded rows, taken in turn; temperature 0 reconstructs them."""

    kind: Literal["posterior"] = "posterior"
    dataset: Reference
    select: Selection = "all"
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 1.0
    labels: LabelChoice | None = None


class Interpolate(Spec):
    """Rows along paths between encoded rows, both ends included."""

    kind: Literal["interpolate"] = "interpolate"
    dataset: Reference
    pairs: Annotated[tuple[tuple[int, int], ...], Field(min_length=1, max_length=10_000)]
    steps: Annotated[int, Field(ge=2, le=10_000)]
    path: Literal["linear", "spherical"] = "linear"

    @model_validator(mode="after")
    def _known_rows(self) -> Self:
        if any(row < 0 for pair in self.pairs for row in pair):
            raise ValueError("pairs name rows of the dataset, counted from 0")
        return self


class Auto(Spec):
    """The recommendation of the newest ready report of this model and dataset."""

    kind: Literal["auto"] = "auto"
    dataset: Reference
    labels: LabelChoice | None = None


Strategy = Annotated[Prior | Aggregate | Posterior | Interpolate | Auto, Field(discriminator="kind")]
