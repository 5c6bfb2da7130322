"""Waiting, for `?wait=` and previews: until what is asked for has settled, and no longer than somebody listens."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from starlette.requests import Request

from latentmill.errors import LimitExceeded
from service.watching import Look, Mark, Watcher

Item = TypeVar("Item")


@dataclass(frozen=True)
class Sight(Generic[Item]):
    """What a waiting client has read: the item, its row and that row's mark, and whether it has settled."""

    item: Item
    row_id: str
    mark: Mark
    settled: bool


@dataclass(frozen=True)
class Waiting:
    """How long the client of this request waits, at most: `seconds`, 0 where it does not."""

    request: Request
    watcher: Watcher
    seconds: float

    async def settled(self, look: Look, read: Callable[[], Sight[Item]], *, shared: Hashable) -> Item:
        """What `read` gives once it is settled, when the time is over, or when nobody listens any more.

        Clients with the same `shared` key may be given the same item when they are woken together.
        """
        ends = time.monotonic() + self.seconds
        sight = await self.watcher.read(read)
        if sight.settled or not self.seconds:
            return sight.item
        async with _listening(self.request) as gone:
            while (remaining := ends - time.monotonic()) > 0 and not sight.settled:
                with self.watcher.watching(look, sight.row_id, sight.mark) as changed:
                    await asyncio.wait({changed, gone}, timeout=remaining, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    break
                sight = await self.watcher.read_once((look, shared), read)
        return sight.item


def checked_wait(wait: float | None, longest_seconds: float) -> float:
    """`wait` in seconds; LimitExceeded where it is more than a client may ask for."""
    if wait is not None and wait > longest_seconds:
        raise LimitExceeded(f"wait is at most {longest_seconds:g} seconds; ask again after it", pointer="/wait")
    return wait or 0.0


@asynccontextmanager
async def _listening(request: Request) -> AsyncIterator["asyncio.Task[None]"]:
    """A task that ends when the client goes away."""
    task = asyncio.create_task(_gone(request))
    try:
        yield task
    finally:
        task.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
