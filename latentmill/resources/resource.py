"""What every resource of the service is on the client's side, and what every list of them can do."""

import builtins
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, Self, TypeVar
from urllib.parse import quote

import numpy as np
from pydantic import BaseModel

from latentmill.errors import Cancelled, LatentmillError, Problem, WaitTimedOut
from latentmill.transport import JsonObject, Transport

LONG_POLL_SECONDS = 30
WATCHED_POLL_SECONDS = 1  # with a progress callback
LONGEST_PAUSE_SECONDS = 1.0


class Resource:
    """One thing that the service keeps. `data` is its JSON; every field of it is an attribute too."""

    path: ClassVar[str]
    noun: ClassVar[str]
    done: ClassVar[frozenset[str]] = frozenset({"ready"})
    broken: ClassVar[frozenset[str]] = frozenset({"rejected", "failed"})

    def __init__(self, transport: Transport, data: JsonObject) -> None:
        self._transport = transport
        self.data = data

    def __getattr__(self, name: str) -> Any:
        data = self.__dict__.get("data", {})
        if name in data:
            return data[name]
        raise AttributeError(f"a {self.noun} has no {name!r}; it has {', '.join(sorted(data))}")

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<{self.noun} {self.id}{name}: {self.state}>"

    @property
    def id(self) -> str:
        return str(self.data["id"])

    @property
    def name(self) -> str | None:
        return self.data.get("name")

    @property
    def state(self) -> str:
        return str(self.data["state"])

    @property
    def warnings(self) -> list[str]:
        return list(self.data.get("warnings") or [])

    @property
    def address(self) -> str:
        """The path of this resource on the service."""
        return address(self.path, self.id)

    @property
    def ended(self) -> bool:
        return self.state in self.done | self.broken

    @property
    def error(self) -> LatentmillError | None:
        """Why it was rejected, failed or cancelled."""
        problem = self.data.get("error")
        if problem:
            return LatentmillError.from_problem(Problem.model_validate(problem))
        if self.state == "cancelled":
            return Cancelled(f"{self.noun} {self.id} was cancelled")
        return LatentmillError(f"{self.noun} {self.id} is {self.state}") if self.state in self.broken else None

    def refresh(self) -> Self:
        """Read it again."""
        self.data = self._transport.get_json(self.address)
        return self

    def wait(self, timeout_seconds: float | None = None, *, progress: Callable[[Self], object] | None = None) -> Self:
        """Wait until it has ended; raises its error where that is rejected, failed or cancelled.

        `progress` is called with the resource about once a second.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        pause = 0.05
        while True:
            if progress is not None:
                progress(self)
            if self.ended:
                break
            asked = self._poll_seconds(deadline, watched=progress is not None)
            began = time.monotonic()
            self.data = self._transport.get_json(self.address, wait=asked)
            if not self.ended and time.monotonic() - began < pause:
                time.sleep(pause)  # a service that does not hold the request must not be asked without end
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        if self.state in self.broken and (error := self.error) is not None:
            raise error
        return self

    def delete(self) -> None:
        """Delete it."""
        self._transport.act("DELETE", self.address, repeatable=False)

    def _poll_seconds(self, deadline: float | None, *, watched: bool) -> int:
        longest = WATCHED_POLL_SECONDS if watched else LONG_POLL_SECONDS
        if deadline is None:
            return longest
        left = deadline - time.monotonic()
        if left <= 0:
            raise WaitTimedOut(f"{self.noun} {self.id} is still {self.state}")
        return max(1, min(longest, round(left)))


R = TypeVar("R", bound=Resource)


class Collection(Generic[R]):
    """All resources of one noun."""

    resource: type[R]

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, reference: "str | R") -> R:
        """The one with this id or unique name."""
        return self._made(self._transport.get_json(address(self.resource.path, reference)))

    def list(self, limit: int | None = None, **filters: Any) -> "builtins.list[R]":
        """The newest `limit` of them, or all, newest first."""
        found: builtins.list[R] = []
        cursor: str | None = None
        while limit is None or len(found) < limit:
            size = 100 if limit is None else min(100, limit - len(found))
            page = self._transport.get_json(self.resource.path, limit=size, cursor=cursor, **plain(filters))
            found.extend(self._made(data) for data in page["data"])
            cursor = page.get("next_cursor")
            if cursor is None:
                break
        return found

    def delete(self, reference: "str | R") -> None:
        """Delete the one with this id or unique name."""
        self._transport.act("DELETE", address(self.resource.path, reference), repeatable=False)

    def _create(self, body: Mapping[str, Any]) -> R:
        return self._made(self._transport.create(self.resource.path, plain(body)))

    def _made(self, data: JsonObject) -> R:
        return self.resource(self._transport, data)


def address(path: str, reference: str | Resource) -> str:
    """The path of one resource; names may hold any character."""
    return f"{path}/{quote(reference if isinstance(reference, str) else reference.id, safe='')}"


def plain(value: Any) -> Any:
    """`value` as JSON types: a resource is its id, a spec its fields, a numpy number a number."""
    if isinstance(value, Resource):
        return value.id
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value
