"""How a job chooses its latents."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from latentmill.specs.spec import MAX_SEED, Numeric, Spec

Temperature = Annotated[float, Field(gt=0, le=2, allow_inf_nan=False), Numeric]
RowNumber = Annotated[int, Field(ge=0, le=MAX_SEED), Numeric]  # of a dataset, counted from 0
Reference = Annotated[str, Field(min_length=1, max_length=128)]  # an id, or a unique name


class LabelCounts(Spec):
    """So many rows of each label; they must add up to the job's rows."""

    counts: dict[str, Annotated[int, Field(ge=0), Numeric]]


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
    rows: Annotated[tuple[Annotated[int, Field(ge=0), Numeric], ...], Field(min_length=1, max_length=10_000)]


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
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False), Numeric] = 1.0
    labels: LabelChoice | None = None


class Interpolate(Spec):
    """Rows along paths between the encoding means of rows of a dataset, `steps` for each pair, both ends included.

    The job has exactly pairs x steps rows: those of the first pair, then those of the second, and so on. Step s of a
    pair lies at t = s / (steps - 1) from a to b.

    linear: z = (1 - t) a + t b. spherical: the direction turns evenly from that of a to that of b on their great
    circle while the length goes evenly from |a| to |b|; where no circle is singled out (an end at 0, opposite or equal
    directions) the path is linear.

    With a conditional model a row has the label of its nearer end, the middle that of the first, so that both ends
    are reconstructed as what they are; `labels` overrules that.
    """

    kind: Literal["interpolate"] = "interpolate"
    dataset: Reference
    pairs: Annotated[tuple[tuple[RowNumber, RowNumber], ...], Field(min_length=1, max_length=10_000)]
    steps: Annotated[int, Field(ge=2, le=10_000), Numeric]
    path: Literal["linear", "spherical"] = "linear"
    labels: LabelChoice | None = None

    @property
    def rows(self) -> int:
        """How many rows that makes."""
        return len(self.pairs) * self.steps


class Auto(Spec):
    """The recommendation of the newest ready report of this model and dataset."""

    kind: Literal["auto"] = "auto"
    dataset: Reference
    labels: LabelChoice | None = None


Strategy = Annotated[Prior | Aggregate | Posterior | Interpolate | Auto, Field(discriminator="kind")]
