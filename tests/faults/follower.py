"""A reader of a job's events, as a browser does it: where the line breaks, it comes back with the last number."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from latentmill.resources.jobs import Job
from tests.faults.mill import LONGEST_SECONDS, Mill

ENDED = {"succeeded", "failed", "cancelled"}
PAUSE_SECONDS = 0.05


@dataclass
class Follower:
    """What came over the line: (number, kind, data), and how often it had to come back."""

    events: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    returns: int = 0
    past: int = 0  # events of an earlier run of the job

    def shards(self) -> list[int]:
        """The indices of the shards that were spoken of, in that order."""
        return [data["index"] for _, kind, data in self.events if kind == "shard"]

    def ended(self) -> bool:
        """Whether the last event says that the job is over."""
        return len(self.events) > self.past and self.events[-1][2].get("state") in ENDED


@contextmanager
def following(mill: Mill, job: Job, after: Follower | None = None) -> Iterator[Follower]:
    """Follows the job's events, from where an earlier one ended; the block's end waits for the last one."""
    follower = Follower(list(after.events) if after is not None else [])
    follower.past = len(follower.events)
    thread = threading.Thread(target=_follow, args=(mill, job.id, follower), daemon=True)
    thread.start()
    yield follower
    thread.join(LONGEST_SECONDS)
    assert not thread.is_alive(), f"the events of {job.id} do not end: {follower.events[-3:]}"


def _follow(mill: Mill, job_id: str, follower: Follower) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    key = {"Authorization": f"Bearer {mill.stack.api_key}"}
    with httpx.Client(base_url=mill.stack.url, headers=key, timeout=30, trust_env=False) as http:
        while not follower.ended() and time.monotonic() < deadline:
            last = {"Last-Event-ID": str(follower.events[-1][0])} if follower.events else {}
            try:
                with http.stream("GET", f"/v1/jobs/{job_id}/events", headers=last) as answer:
                    if answer.status_code == 200:
                        for event in _events(answer.iter_lines()):
                            follower.events.append(event)  # one by one: what came before a break counts
            except httpx.HTTPError:
                pass
            if not follower.ended():
                follower.returns += 1
                time.sleep(PAUSE_SECONDS)


def _events(lines: Iterator[str]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:  # whole: an event that was cut off comes again
            yield int(fields["id"]), fields["event"], json.loads(fields["data"])
            fields = {}
