"""An error as it is sent and stored: RFC 9457 problem details."""

from pydantic import BaseModel, ConfigDict, Field


class FieldError(BaseModel):
    """One field that is wrong: a JSON pointer to it, and what to do about it."""

    pointer: str
    message: str


class Problem(BaseModel):
    """An error on the wire and in the database (RFC 9457)."""

    model_config = ConfigDict(extra="ignore")

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldError] = Field(default_factory=list)
    request_id: str | None = None
    retryable: bool = False


def pointer_step(step: int | str) -> str:
    """One step of a JSON pointer, escaped (RFC 6901)."""
    return str(step).replace("~", "~0").replace("/", "~1")
