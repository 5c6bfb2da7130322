"""How a job chooses its latents."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from latentmill.specs.spec import Integer, Number, Spec

Temperature = Annotated[Number, Field(gt=0, le=2, allow_inf_nan=False)]
Reference = Annotated[str, Field(min_length=1, max_length=128)]  # an id, or a unique name


class LabelCounts(Spec):
    """So many rows of each label; they must add up to the job's rows."""

    counts: dict[str, Annotated[Integer, Field(ge=0)]]


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
    rows: Annotated[tuple[Annotated[Integer, Field(ge=0)], ...], Field(min_length=1, max_length=10_000)]


def _class_name(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class SelectLabel(Spec):
    label: Annotated[str, BeforeValidator(_class_name)]  # an integer label is its text


def _selected_by(value: Any) -> str:
    if isinstance(value, SelectLabel) or (isinstance(value, Mapping) and "label" in value):
        return "label"
    return "rows" if isinstance(value, SelectRows | Mapping) else "all"


# One kind is tried, not all three: an error then speaks of what was meant.
Selection = Annotated[
    Annotated[SelectRows, Tag("rows")] | Annotated[SelectLabel, Tag("label")] | Annotated[Literal["all"], Tag("all")],
    Discriminator(_selected_by),
]


class Posterior(Spec):
    """Draws around encoded rows, taken in turn; temperature 0 reconstructs them."""

    kind: Literal["posterior"] = "posterior"
    dataset: Reference
    select: Selection = "all"
    temperature: Annotated[Number, Field(ge=0, le=2, allow_inf_nan=False)] = 1.0
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
