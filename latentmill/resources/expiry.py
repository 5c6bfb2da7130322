"""When a thing is to be deleted by itself, as Python says it and as the service wants it."""

from datetime import datetime, timedelta
from typing import Any

from latentmill.durations import seconds_of

Moment = datetime | str
Duration = timedelta | float | str  # text as people type it: 90d


def expiry_fields(expires_at: Moment | None, expires_in: Duration | None) -> dict[str, Any]:
    """The fields of a request. A datetime without a zone is in this machine's."""
    if isinstance(expires_at, datetime):
        expires_at = expires_at.astimezone().isoformat()
    if isinstance(expires_in, timedelta):
        expires_in = expires_in.total_seconds()
    elif isinstance(expires_in, str):
        expires_in = seconds_of(expires_in)
    return {"expires_at": expires_at, "expires_in": expires_in}
