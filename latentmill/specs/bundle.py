"""`vae.json`: what a bundle says of its VAE."""

from math import prod
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from latentmill.specs.rows import PositiveFinite, Rows, TableRows
from latentmill.specs.spec import Spec

MAX_LATENT_SIZE = 2**20


class Latent(Spec):
    shape: Annotated[tuple[Annotated[int, Field(ge=1, le=MAX_LATENT_SIZE)], ...], Field(min_length=1, max_length=6)]

    @property
    def size(self) -> int:
        """D, the number of latent values of a row."""
        return prod(self.shape)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.size > MAX_LATENT_SIZE:
            raise ValueError(f"{self.size:,} latent values per row, at most {MAX_LATENT_SIZE:,}")
        return self


class Encoder(Spec):
    """How the encoder's output is read: what the second head means, and how the two heads are laid out."""

    scale: Literal["log_variance", "log_std", "variance", "std", "none"] = "log_variance"
    head: Literal["pair", "chunked", "interleaved"] = "pair"


class StandardNormal(Spec):
    kind: Literal["standard_normal"] = "standard_normal"


class MixturePrior(Spec):
    """A learned mixture; `prior.safetensors` holds weights, means and variances or covariances."""

    kind: Literal["mixture"] = "mixture"


class NoPrior(Spec):
    """Nothing to draw from before a fit."""

    kind: Literal["none"] = "none"


Prior = Annotated[StandardNormal | MixturePrior | NoPrior, Field(discriminator="kind")]


class Bernoulli(Spec):
    kind: Literal["bernoulli"] = "bernoulli"


class GaussianLikelihood(Spec):
    kind: Literal["gaussian"] = "gaussian"
    std: PositiveFinite | Literal["learned"] = 1.0


class Categorical(Spec):
    kind: Literal["categorical"] = "categorical"


class Point(Spec):
    """The decoder's output is the row; there is no noise around it."""

    kind: Literal["point"] = "point"


Likelihood = Annotated[Bernoulli | GaussianLikelihood | Categorical | Point, Field(discriminator="kind")]


class Labels(Spec):
    """The classes of a conditional VAE, in the order of the decoder's one-hot input or index."""

    classes: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=128)], ...], Field(min_length=1)]
    encoding: Literal["one_hot", "index"] = "one_hot"

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes must differ")
        if len(self.classes) > 100_000:
            raise ValueError(f"{len(self.classes):,} classes, at most 100,000")
        return self


class VaeManifest(Spec):
    """The whole of `vae.json`. `architecture` is checked by the architecture that it names."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    name: Annotated[str, Field(min_length=1, max_length=128)]
    description: Annotated[str, Field(max_length=4096)] = ""
    engine: Literal["torch", "onnx"]
    latent: Latent
    rows: Rows
    encoder: Encoder | None = None
    prior: Prior = StandardNormal()
    likelihood: Likelihood = Point()
    labels: Labels | None = None
    architecture: dict[str, Any] | None = None

    model_config = {**Spec.model_config, "populate_by_name": True, "serialize_by_alias": True}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.engine == "torch") != (self.architecture is not None):
            raise ValueError("architecture belongs to the engine torch, and only to it")
        if self.architecture is not None and not isinstance(self.architecture.get("name"), str):
            raise ValueError('architecture must have a "name"')
        return self

    @property
    def deterministic(self) -> bool:
        """True where the encoder gives means alone (AE, RAE, WAE)."""
        return self.encoder is not None and self.encoder.scale == "none"

    def why_not_sampled(self) -> str | None:
        """Why no row can be drawn from the likelihood, with the way out; None where rows can be drawn.

        A likelihood says how all values of a row are drawn. In a table "gaussian" adds noise to every decoded value
        before columns are made of them; "bernoulli" draws the booleans, "categorical" one category in each column of
        categories (a missing value is one of them) and the booleans. Neither says anything of a number.
        """
        kind = self.likelihood.kind
        if kind == "point":
            return 'The likelihood is point: there is no noise around a row to draw. Ask for output "mean".'
        if not isinstance(self.rows, TableRows) or kind == "gaussian":
            return None
        drawn = {"boolean"} if kind == "bernoulli" else {"boolean", "category"}
        for column in self.rows.columns:
            if column.kind not in drawn:
                return (
                    f"The likelihood {kind} does not say how to draw the column {column.name!r} of kind {column.kind}: "
                    'ask for output "mean", or register a bundle whose likelihood covers every column.'
                )
        return None
