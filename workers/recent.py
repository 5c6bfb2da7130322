"""What a worker keeps in memory between two items: the values used last, bounded in bytes."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class RecentlyUsed(Generic[Key, Value]):
    """Values by key, each with its size; those not used for longest are dropped beyond `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._values: OrderedDict[Key, tuple[Value, int]] = OrderedDict()

    def get(self, key: Key, load: Callable[[], tuple[Value, int]]) -> Value:
        """The value of `key`; `load` gives it and its bytes if it is not here. The newest stays, however large."""
        if key not in self._values:
            self._values[key] = load()
        self._values.move_to_end(key)
        while len(self._values) > 1 and sum(size for _, size in self._values.values()) > self._max_bytes:
            self._values.popitem(last=False)
        return self._values[key][0]

    def clear(self) -> None:
        """Keep nothing."""
        self._values.clear()
