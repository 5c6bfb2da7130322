"""The events of a job as server-sent events: numbered without gaps, so that a client can go on where it stopped."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from latentmill.errors import DatabaseFault, InvalidRequest
from service.database import Database
from service.jobs.states import TERMINAL
from service.jobs.tables import EventRow, JobRow

AT_A_TIME = 500
POLL_SECONDS = 0.3
HEARTBEAT_SECONDS = 15.0
RETRY_MILLISECONDS = 3000
NUMBER = re.compile(r"[0-9]{1,18}")


def last_event_number(header: str | None) -> int:
    """The number in `Last-Event-ID`; 0 without one."""
    if header is None or not header.strip():
        return 0
    if not NUMBER.fullmatch(header.strip()):
        raise InvalidRequest(f"Last-Event-ID is the number of an event, not {header[:40]!r}.")
    return int(header)


def is_over(job: JobRow, after: int) -> bool:
    """Whether the job has ended and no event comes after this one."""
    return job.deleted_at is not None or (job.state in TERMINAL and job.event_number <= after)


async def stream(database: Database, job_id: str, after: int) -> AsyncIterator[bytes]:
    """The events after number `after` as they happen, to the terminal one; comments in between keep the line open."""
    yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
    spoken_at = time.monotonic()
    while True:
        try:
            events, over = await run_in_threadpool(_next_events, database, job_id, after)
        except DatabaseFault:
            return  # the client comes back with the number of the last event that it has
        for event in events:
            yield _written(event)
            after = event.number
        if over:
            return
        if events:
            spoken_at = time.monotonic()
            continue
        if time.monotonic() - spoken_at >= HEARTBEAT_SECONDS:
            yield b": still here\n\n"
            spoken_at = time.monotonic()
        await asyncio.sleep(POLL_SECONDS)


def _next_events(database: Database, job_id: str, after: int) -> tuple[list[EventRow], bool]:
    with database.reading() as session:
        return _events_after(session, job_id, after)


def _events_after(session: Session, job_id: str, after: int) -> tuple[list[EventRow], bool]:
    job = session.get_one(JobRow, job_id)
    statement = select(EventRow).where(EventRow.job_id == job_id, EventRow.number > after).order_by(EventRow.number)
    events = list(session.execute(statement.limit(AT_A_TIME)).scalars())
    return events, is_over(job, events[-1].number if events else after)


def _written(event: EventRow) -> bytes:
    data = json.dumps({**event.data, "at": event.created_at.isoformat().replace("+00:00", "Z")})
    return f"id: {event.number}\nevent: {event.kind}\ndata: {data}\n\n".encode()
