"""When a thing is to be deleted by itself: at a time, or so many seconds from now."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, model_validator

from latentmill.specs.spec import Numeric, Spec

LONGEST_KEPT_SECONDS = 100 * 366 * 86_400
LAST_YEAR = 9990  # a time in it can be moved to any zone


def _text(value: Any) -> Any:
    # Pydantic would read digits, as a number and as text, as seconds since 1970.
    written = isinstance(value, str) and not value.strip().lstrip("+-").replace(".", "").isdigit()
    if not written and not isinstance(value, datetime):
        raise ValueError("a time is text in RFC 3339: 2031-05-01T12:00:00Z")
    return value


def _in_reach(value: datetime) -> datetime:
    if not 1 < value.year <= LAST_YEAR:
        raise ValueError(f"the year must be at most {LAST_YEAR}")
    return value.astimezone(UTC)


Instant = Annotated[AwareDatetime, BeforeValidator(_text), AfterValidator(_in_reach)]


class Expiry(Spec):
    """Fields of a creating request. Neither: as the tenant's limits say, by default never."""

    expires_at: Instant | None = None
    expires_in: (
        Annotated[
            float,
            Field(gt=0, le=LONGEST_KEPT_SECONDS, allow_inf_nan=False, description="Seconds from now."),
            Numeric,
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _one_end(self) -> "Expiry":
        if self.expires_at is not None and self.expires_in is not None:
            raise ValueError("say expires_at or expires_in, not both")
        return self

    def given(self) -> dict[str, Any]:
        """What is said of it, as JSON types."""
        return Expiry.model_construct(expires_at=self.expires_at, expires_in=self.expires_in).model_dump(
            mode="json", exclude_none=True
        )
