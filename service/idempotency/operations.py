"""Doing a creating request once per key, in the transaction of what it makes."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from latentmill.errors import Conflict, IdempotencyKeyReused
from latentmill.specs import digest_of
from service.answers import Answer
from service.database import database_now
from service.idempotency.tables import IdempotencyRow

LONGEST_KEY = 255
KEPT = timedelta(hours=24)
REPLAYED = {"Idempotent-Replayed": "true"}


def once(
    session: Session, *, tenant_id: str, route: str, key: str | None, body: Any, make: Callable[[], Answer]
) -> Answer:
    """What `make` answers, or what it answered when this key was used before. An error leaves the key unused."""
    if key is None:
        return make()
    body_digest = digest_of(body)
    now = database_now(session)
    session.execute(
        delete(IdempotencyRow).where(IdempotencyRow.tenant_id == tenant_id, IdempotencyRow.created_at < now - KEPT)
    )
    row = IdempotencyRow(tenant_id=tenant_id, route=route, key=key, body_digest=body_digest, created_at=now)
    identity = (tenant_id, route, key)
    if (earlier := session.get(IdempotencyRow, identity)) is not None:
        return _replayed(earlier, body_digest)
    try:
        # A concurrent twin waits here until the first has committed or failed.
        with session.begin_nested():
            session.add(row)
            session.flush()
    except IntegrityError as error:
        if (earlier := session.get(IdempotencyRow, identity, populate_existing=True)) is None:
            raise Conflict("The same Idempotency-Key is in use by a request that has not ended.") from error
        return _replayed(earlier, body_digest)
    answer = make()
    row.status, row.headers, row.body = answer.status, answer.headers, answer.body
    return answer


def _replayed(earlier: IdempotencyRow, body_digest: str) -> Answer:
    if earlier.body_digest != body_digest:
        raise IdempotencyKeyReused()
    if earlier.status is None or earlier.body is None:
        raise Conflict("The same Idempotency-Key is in use by a request that has not ended.")
    answer = Answer(earlier.status, earlier.body, dict(earlier.headers or {}))
    return replace(answer, headers=answer.headers | REPLAYED)
