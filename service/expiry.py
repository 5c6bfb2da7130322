"""When what a request creates is to be deleted by itself."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from pydantic import ValidationError
from sqlalchemy.orm import Session

from latentmill.errors import InvalidRequest
from latentmill.specs.expiry import LONGEST_KEPT_SECONDS, Expiry
from service.database import database_now


def end_of(session: Session, expiry: Expiry, *, default_seconds: float | None) -> datetime | None:
    """The time that the request means, by the database's clock, else what the tenant's limits say; None is never."""
    now = database_now(session)
    if expiry.expires_at is not None:
        if expiry.expires_at <= now:
            raise InvalidRequest(
                f"expires_at lies in the past: it is {now:%Y-%m-%dT%H:%M:%SZ} here.", pointer="/expires_at"
            )
        return expiry.expires_at
    seconds = expiry.expires_in if expiry.expires_in is not None else default_seconds
    return None if seconds is None else now + timedelta(seconds=seconds)


def parsed_expiry(fields: Mapping[str, str]) -> Expiry:
    """From the fields of a form, held to the same rule as one from JSON."""
    at, seconds = fields.get("expires_at"), fields.get("expires_in")
    try:
        return Expiry(expires_at=at, expires_in=None if seconds is None else float(seconds))
    except ValidationError as error:
        wrong = error.errors()[0]
        message = str(wrong["msg"]).removeprefix("Value error, ")
        raise InvalidRequest(message, pointer="".join(f"/{step}" for step in wrong["loc"])) from error
    except ValueError as error:
        raise InvalidRequest(
            f"expires_in is a number of seconds, at most {LONGEST_KEPT_SECONDS:,}.", pointer="/expires_in"
        ) from error
