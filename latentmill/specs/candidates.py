"""What a report compares: strategies as they are, and families that are fitted for it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, StrictBool, Tag

from latentmill.specs.families import Empirical, Family, Flow, Gaussian, Mixture
from latentmill.specs.spec import Spec
from latentmill.specs.strategies import Aggregate, Posterior, Prior

MOST_CANDIDATES = 16
FITTED = "fitted"
STRATEGIES = frozenset({"prior", "aggregate", "posterior"})
FAMILIES = frozenset({"gaussian", "mixture", "empirical", "flow"})
WHAT_IT_IS = (
    "a strategy (prior, aggregate, posterior), a family (gaussian, mixture, empirical, flow), or an object with "
    "`family` and `by_label`"
)
REFUSED = {
    "interpolate": "rows on a path between chosen rows are no sample of anything, so there is nothing to compare",
    "auto": "it is what a report decides; name the strategies and families to choose from",
}


class FittedCandidate(Spec):
    """A density that is fitted for the report; `by_label` fits one for each label."""

    family: Family
    by_label: StrictBool = False


def _meant(value: Any) -> str | None:
    if isinstance(value, FittedCandidate) or (isinstance(value, Mapping) and "family" in value):
        return FITTED
    kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
    return kind if isinstance(kind, str) and kind in STRATEGIES | FAMILIES else None


def _can_be_compared(value: Any) -> Any:
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if isinstance(kind, str) and kind in REFUSED:
        raise ValueError(f"{kind} cannot be a candidate: {REFUSED[kind]}")
    return value


def _without_labels(candidate: Any) -> Any:
    if getattr(candidate, "labels", None) is not None:
        raise ValueError("leave labels out: a report gives all candidates the labels of the rows it compares them with")
    return candidate


# One kind is tried, not all eight: an error then speaks of what was meant.
Candidate = Annotated[
    Annotated[Prior, Tag("prior")]
    | Annotated[Aggregate, Tag("aggregate")]
    | Annotated[Posterior, Tag("posterior")]
    | Annotated[Gaussian, Tag("gaussian")]
    | Annotated[Mixture, Tag("mixture")]
    | Annotated[Empirical, Tag("empirical")]
    | Annotated[Flow, Tag("flow")]
    | Annotated[FittedCandidate, Tag(FITTED)],
    Discriminator(_meant, custom_error_type="candidate", custom_error_message=f"a candidate is {WHAT_IT_IS}"),
    BeforeValidator(_can_be_compared),
    AfterValidator(_without_labels),
]


def fitted_of(candidate: Candidate) -> FittedCandidate | None:
    """What is to be fitted for the candidate; None for a strategy, which is there already."""
    if isinstance(candidate, FittedCandidate):
        return candidate
    if isinstance(candidate, Gaussian | Mixture | Empirical | Flow):
        return FittedCandidate(family=candidate)
    return None


def _listed_or_default(value: Any) -> Any:
    if value != "default" and not isinstance(value, list | tuple):
        raise ValueError(f'candidates is "default", or a list of 1 to {MOST_CANDIDATES}, each {WHAT_IT_IS}')
    return value


def _some_and_different(candidates: tuple[Any, ...]) -> tuple[Any, ...]:
    # Here, and not as bounds of the field: those would count a wrong candidate as none, and say so beside its error.
    if not 1 <= len(candidates) <= MOST_CANDIDATES:
        raise ValueError(f"1 to {MOST_CANDIDATES} candidates, not {len(candidates)}")
    plain = [fitted_of(candidate) or candidate for candidate in candidates]
    for place, candidate in enumerate(plain):
        if candidate in plain[:place]:
            raise ValueError(f"candidates {plain.index(candidate)} and {place} are the same; leave one out")
    return candidates


Candidates = Annotated[
    Annotated[Literal["default"], Tag("default")]
    | Annotated[
        tuple[Candidate, ...],
        Field(json_schema_extra={"minItems": 1, "maxItems": MOST_CANDIDATES}),
        AfterValidator(_some_and_different),
        Tag("listed"),
    ],
    Discriminator(lambda value: "default" if isinstance(value, str) else "listed"),
    BeforeValidator(_listed_or_default),
]
