"""The events of a job as server-sent events: numbered without gaps, so that a client can go on where it stopped."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from latentmill.errors import DatabaseFault, InvalidRequest
from service.database import Database
from service.jobs.states import TERMINAL
from service.jobs.tables import EventRow, JobRow
from service.watching import Mark, Watcher

AT_A_TIME = 500
HEARTBEAT_SECONDS = 15.0
RETRY_MILLISECONDS = 3000
NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True)
class Told:
    """Some events as they are sent, the number of the last one, and what the job's row showed when they were read."""

    text: bytes
    last: int
    more: bool
    over: bool
    mark: Mark


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


def newest_events(session: Session, ids: Sequence[str]) -> dict[str, Mark]:
    """Marks of jobs: the number of the newest event; none where the job is deleted, which is no event."""
    jobs = select(JobRow.id, JobRow.event_number).where(JobRow.id.in_(ids), JobRow.deleted_at.is_(None))
    return {job_id: number for job_id, number in session.execute(jobs)}


async def stream(database: Database, watcher: Watcher, job_id: str, after: int) -> AsyncIterator[bytes]:
    """The events after number `after` as they happen, to the terminal one; comments in between keep the line open.

    All that listen to a job are woken together and share what is then read and written for them.
    """
    yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
    spoken_at = time.monotonic()
    while True:
        try:
            told = await watcher.read_once((job_id, after), partial(_told, database, job_id, after))
        except DatabaseFault:
            return  # the client comes back with the number of the last event that it has
        if told.text:
            yield told.text
            after, spoken_at = told.last, time.monotonic()
        if told.over:
            return
        if told.more:
            continue
        with watcher.watching(newest_events, job_id, told.mark) as changed:
            while not changed.done():
                silent_until = spoken_at + HEARTBEAT_SECONDS
                await asyncio.wait({changed}, timeout=max(silent_until - time.monotonic(), 0))
                if not changed.done():
                    yield b": still here\n\n"
                    spoken_at = time.monotonic()


def _told(database: Database, job_id: str, after: int) -> Told:
    with database.reading() as session:
        job = session.get_one(JobRow, job_id)
        statement = select(EventRow).where(EventRow.job_id == job_id, EventRow.number > after).order_by(EventRow.number)
        events = session.execute(statement.limit(AT_A_TIME)).scalars().all()
    last = events[-1].number if events else after
    return Told(
        text=b"".join(_written(event) for event in events),
        last=last,
        more=len(events) == AT_A_TIME,
        over=is_over(job, last),
        mark=job.event_number if job.deleted_at is None else None,
    )


def _written(event: EventRow) -> bytes:
    data = json.dumps({**event.data, "at": event.created_at.isoformat().replace("+00:00", "Z")})
    return f"id: {event.number}\nevent: {event.kind}\ndata: {data}\n\n".encode()
