"""What one row is: an image, a series, a table row or a plain tensor."""

from math import prod
from typing import Annotated, Literal, Self

from pydantic import FailFast, Field, field_validator, model_validator

from latentmill.specs.spec import Spec

MAX_ROW_VALUES = 2**24

Shape = Annotated[tuple[Annotated[int, Field(ge=1, le=MAX_ROW_VALUES)], ...], Field(min_length=1, max_length=6)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
ColumnKind = Literal["number", "integer", "category", "boolean"]
PositiveFinite = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _checked_size(shape: tuple[int, ...]) -> tuple[int, ...]:
    if prod(shape) > MAX_ROW_VALUES:
        raise ValueError(f"one row has {prod(shape):,} values, at most {MAX_ROW_VALUES:,} are allowed")
    return shape


class ImageRows(Spec):
    """Pictures, as the decoder gives them: `range` (or per-channel mean and std) says how values map to 0..255."""

    kind: Literal["image"] = "image"
    shape: Annotated[tuple[Annotated[int, Field(ge=1, le=16384)], ...], Field(min_length=3, max_length=3)]
    layout: Literal["CHW", "HWC"] = "CHW"
    range: tuple[Finite, Finite] = (0.0, 1.0)
    mean: tuple[Finite, ...] | None = None
    std: tuple[PositiveFinite, ...] | None = None
    dtype: Literal["uint8", "float32"] = "uint8"

    _size = field_validator("shape")(_checked_size)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.range[0] >= self.range[1]:
            raise ValueError("range must rise: [low, high] with low < high")
        if self.channels > 4:
            raise ValueError(f"{self.channels} channels; an image has 1 to 4 (is the layout {self.layout} right?)")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if values is not None and len(values) != self.channels:
                raise ValueError(f"{name} has {len(values)} values for {self.channels} channels")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std go together")
        return self

    @property
    def channels(self) -> int:
        return self.shape[0] if self.layout == "CHW" else self.shape[2]


class SeriesRows(Spec):
    """Windows of a time series: `steps` x `features`; value = decoded * std + mean."""

    kind: Literal["series"] = "series"
    steps: Annotated[int, Field(ge=1, le=100_000)]
    features: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=128)], ...], Field(min_length=1)]
    mean: tuple[Finite, ...] | None = None
    std: tuple[PositiveFinite, ...] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.features)) != len(self.features):
            raise ValueError("features must have different names")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.features):
                raise ValueError(f"{name} has {len(values)} values for {len(self.features)} features")
        _checked_size(self.shape)
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.steps, len(self.features))


class Column(Spec):
    """One column of a table and how the decoder's values become it."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    kind: ColumnKind
    mean: Finite = 0.0
    std: PositiveFinite = 1.0
    minimum: Finite | None = None
    maximum: Finite | None = None
    categories: tuple[str, ...] | None = None
    missing: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.kind == "category") != (self.categories is not None):
            raise ValueError(f"column {self.name!r}: categories belong to columns of kind category, and only to those")
        if self.categories is not None and len(set(self.categories)) != len(self.categories):
            raise ValueError(f"column {self.name!r}: categories must differ")
        return self

    @property
    def width(self) -> int:
        """Values of the decoder that this column takes: one, or one per category; one more for `missing`."""
        return (len(self.categories) if self.categories is not None else 1) + int(self.missing)


class TableRows(Spec):
    """Typed columns; the decoder gives them side by side, categories as one value each."""

    kind: Literal["table"] = "table"
    # Otherwise a million wrong columns, which fit into a bundle, make gigabytes of errors before they are counted.
    columns: Annotated[tuple[Column, ...], Field(min_length=1, max_length=10_000), FailFast()]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError("columns must have different names")
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(column.width for column in self.columns),)


class TensorRows(Spec):
    """An array of numbers with no further meaning."""

    kind: Literal["tensor"] = "tensor"
    shape: Shape

    _size = field_validator("shape")(_checked_size)


Rows = Annotated[ImageRows | SeriesRows | TableRows | TensorRows, Field(discriminator="kind")]
