"""The kinds of density that can be fitted to an aggregate posterior."""

from typing import Annotated, Literal

from pydantic import Field

from latentmill.specs.spec import Numeric, Spec

Covariance = Literal["full", "diagonal"]


class Gaussian(Spec):
    """N(m, S) with the exact moments of the aggregate posterior."""

    kind: Literal["gaussian"] = "gaussian"
    covariance: Covariance = "full"


class Mixture(Spec):
    """A mixture of Gaussians by EM; `auto` lets tune rows choose the number of components."""

    kind: Literal["mixture"] = "mixture"
    components: Annotated[int, Field(ge=1, le=1024), Numeric] | Literal["auto"] = "auto"
    covariance: Covariance = "full"


class Empirical(Spec):
    """The aggregate posterior itself: one component per encoded row; `bandwidth` scales their std."""

    kind: Literal["empirical"] = "empirical"
    components: Annotated[int, Field(ge=1), Numeric] | Literal["all"] = "all"
    bandwidth: Annotated[float, Field(gt=0, le=10), Numeric] = 1.0


class Flow(Spec):
    """A neural spline flow."""

    kind: Literal["flow"] = "flow"
    transforms: Annotated[int, Field(ge=1, le=16), Numeric] = 4
    hidden: Annotated[int, Field(ge=8, le=1024), Numeric] = 64
    epochs: Annotated[int, Field(ge=1, le=10_000), Numeric] | Literal["auto"] = "auto"


Family = Annotated[Gaussian | Mixture | Empirical | Flow, Field(discriminator="kind")]
