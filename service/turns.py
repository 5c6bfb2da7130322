"""Turns for the requests that write: a few at a time, the others in their order, without a thread or a connection.

A database has one writer at a time, or a few that do not wait for each other. Were all requests let at it together,
those that wait for a lock would hold every thread and connection, and those that only read would wait for them. And
SQLite knows no order among those who wait: some come much later than others.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from starlette.concurrency import run_in_threadpool

from latentmill.errors import DatabaseFault

Item = TypeVar("Item")


class Turns:
    """At most `at_once` turns at the same time; whoever has waited `longest_seconds` for one gives up."""

    def __init__(self, at_once: int, longest_seconds: float) -> None:
        self._semaphore = asyncio.Semaphore(at_once)
        self._longest_seconds = longest_seconds

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One turn. Raises DatabaseFault when it does not come in time."""
        try:
            async with asyncio.timeout(self._longest_seconds):
                await self._semaphore.acquire()
        except TimeoutError as error:
            raise DatabaseFault(
                f"Others have been writing to the database for {self._longest_seconds:g} s (database.busy_seconds)."
            ) from error
        try:
            yield
        finally:
            self._semaphore.release()

    async def written(self, write: Callable[[], Item]) -> Item:
        """What `write` gives, on a thread, in a turn of its own."""
        async with self.turn():
            return await run_in_threadpool(write)
