"""The kinds of density that can be fitted to an aggregate posterior."""

from typing import Annotated, Literal

from pydantic import Field

from latentmill.specs.spec import Integer, Number, Spec

Covariance = Literal["full", "diagonal"]


class Gaussian(Spec):
    """N(m, S) with the exact moments of the aggregate posterior."""

    kind: Literal["gaussian"] = "gaussian"
    covariance: Covariance = "full"


class Mixture(Spec):
    """A mixture of Gaussians by EM; `auto` lets tune rows choose the number of components."""

    kind: Literal["mixture"] = "mixture"
    components: Annotated[Integer, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    covariance: Covariance = "full"


class Empirical(Spec):
    """The aggregate posterior itself: one component per encoded row; `bandwidth` scales their std."""

    kind: Literal["empirical"] = "empirical"
    components: Annotated[Integer, Field(ge=1)] | Literal["all"] = "all"
    bandwidth: Annotated[Number, Field(gt=0, le=10)] = 1.0


class Flow(Spec):
    """A neural spline flow."""

    kind: Literal["flow"] = "flow"
    transforms: Annotated[Integer, Field(ge=1, le=16)] = 4
    hidden: Annotated[Integer, Field(ge=8, le=1024)] = 64
    epochs: Annotated[Integer, Field(ge=1, le=10_000)] | Literal["auto"] = "auto"


Family = Annotated[Gaussian | Mixture | Empirical | Flow, Field(discriminator="kind")]
