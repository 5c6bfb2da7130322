"""What every error is, and how it is sent and stored: RFC 9457 problem details."""

from typing import Any, ClassVar

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


class LatentmillError(Exception):
    """Something went wrong in Latentmill."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    retry_after_seconds = 2  # where it is retryable
    by_code: ClassVar[dict[str, type["LatentmillError"]]] = {}

    def __init__(
        self, detail: str | None = None, *, pointer: str | None = None, errors: list[FieldError] | None = None
    ) -> None:
        self.detail = _sendable(detail or (type(self).__doc__ or "").strip())
        field = [] if pointer is None else [FieldError(pointer=_sendable(pointer), message=self.detail)]
        self.errors = errors or field
        self.request_id: str | None = None
        super().__init__(self.detail)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if (known := LatentmillError.by_code.setdefault(cls.code, cls)) is not cls:
            raise TypeError(f"{cls.__name__} and {known.__name__} share the code {cls.code!r}")

    def problem(self, request_id: str | None = None) -> Problem:
        """This error as it is stored and sent."""
        return Problem(
            type=f"urn:latentmill:problem:{self.code}",
            title=_title(type(self)),
            status=self.status,
            detail=self.detail,
            code=self.code,
            errors=self.errors,
            request_id=request_id or self.request_id,
            retryable=self.retryable,
        )

    @staticmethod
    def from_problem(problem: Problem) -> "LatentmillError":
        """The error that `problem` describes; the nearest base for a code of a newer service."""
        nearest = ["invalid_request"] if 400 <= problem.status < 500 else []
        codes = [code for code in (problem.code, *nearest) if code in LatentmillError.by_code]
        kind = LatentmillError.by_code[codes[0]] if codes else LatentmillError
        error = kind(problem.detail, errors=problem.errors)
        error.request_id = problem.request_id
        return error


def _title(kind: type[LatentmillError]) -> str:
    return (kind.__doc__ or kind.__name__).strip().splitlines()[0].rstrip(".")


def _sendable(text: str) -> str:
    """The text with halves of characters, which an error may quote from a file or a request, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def pointer_step(step: int | str) -> str:
    """One step of a JSON pointer, escaped (RFC 6901)."""
    return str(step).replace("~", "~0").replace("/", "~1")
