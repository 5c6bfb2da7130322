"""A crowd of clients: some poll, some wait, some listen, some list, some submit. All in one thread, on asyncio."""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from benchmarks.load.line import Line
from benchmarks.load.times import Times

ONE_ROW = {"strategy": {"kind": "prior"}, "rows": 1, "seed": 1}


@dataclass(frozen=True)
class Crowd:
    """How many clients of each kind. One second between two requests of a client, as `Retry-After` says."""

    pollers: int = 120
    waiters: int = 50
    listeners: int = 20
    listers: int = 10
    submitters: int = 20
    pause_seconds: float = 1.0


class Gathering:
    """A crowd at work, for `seconds`. `long_job` runs all the while."""

    def __init__(self, url: str, key: str, model: str, long_job: str, crowd: Crowd, seconds: float) -> None:
        self._line = lambda: Line(url, key)
        self._model, self._crowd = model, crowd
        self._jobs = [long_job]
        self._ends = time.monotonic() + seconds
        self.times = Times()

    async def run(self) -> Times:
        crowd = self._crowd
        kinds: list[tuple[int, Callable[[Line], Awaitable[None]]]] = [
            (crowd.pollers, self._poll), (crowd.waiters, self._wait), (crowd.listeners, self._listen),
            (crowd.listers, self._list), (crowd.submitters, self._submit),
        ]  # fmt: skip
        await asyncio.gather(*(self._client(act) for number, act in kinds for _ in range(number)))
        return self.times

    async def _client(self, act: Callable[[Line], Awaitable[None]]) -> None:
        await asyncio.sleep(random.random() * self._crowd.pause_seconds)
        kind = act.__name__.strip("_")
        async with self._line() as line:
            while time.monotonic() < self._ends:
                try:
                    await act(line)
                except (OSError, EOFError, asyncio.IncompleteReadError) as error:
                    self.times.fail(kind, repr(error))
                    return
                await asyncio.sleep(self._crowd.pause_seconds)

    async def _timed(self, kind: str, line: Line, method: str, path: str, body: Any = None) -> Any:
        began = time.monotonic()
        reply = await line.ask(method, path, body)
        if reply.status not in {200, 202}:
            self.times.fail(kind, f"{reply.status} {reply.body[:200]!r}")
            return None
        self.times.add(kind, time.monotonic() - began)
        return reply.json()

    async def _poll(self, line: Line) -> None:
        await self._timed("poll", line, "GET", f"/v1/jobs/{random.choice(self._jobs[-200:])}")

    async def _list(self, line: Line) -> None:
        await self._timed("list of 20 jobs", line, "GET", "/v1/jobs?limit=20")

    async def _submit(self, line: Line) -> None:
        made = await self._timed("submit", line, "POST", "/v1/jobs", {"model": self._model, **ONE_ROW})
        if made is not None and await self._timed("poll after submit", line, "GET", f"/v1/jobs/{made['id']}"):
            self._jobs.append(made["id"])

    async def _wait(self, line: Line) -> None:
        """Until a job ends, or for 5 seconds: how late the answer was."""
        job = random.choice(self._jobs[-40:])
        began = time.time()
        reply = await line.ask("GET", f"/v1/jobs/{job}?wait=5")
        now = time.time()
        if reply.status != 200:
            self.times.fail("wait", f"{reply.status} {reply.body[:200]!r}")
            return
        ended = reply.json()["finished_at"]
        due = min(_seconds(ended), began + 5) if ended is not None else began + 5
        self.times.add("wait, lateness", now - max(due, began))

    async def _listen(self, line: Line) -> None:
        """To the events of the long job, from now on: how late they come."""
        begun = time.time()
        async for event in line.listen(f"/v1/jobs/{self._jobs[0]}/events"):
            at = _seconds(json.loads(event["data"])["at"])
            if at >= begun:
                self.times.add("event, lateness", time.time() - at)
            if time.monotonic() >= self._ends:
                break
        await line.hang_up()


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
