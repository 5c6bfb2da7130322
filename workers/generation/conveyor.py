"""A bounded queue between two threads, which either end may close with what went wrong."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):
    """The other end has left, and nothing more is wanted."""


class Conveyor(Generic[T]):
    """One thread puts, one iterates; at most `depth` items lie between them.

    The first `close` counts. Without an error the items that lie there are still delivered; with one, both ends
    raise it at once, so that the threads of a pipeline end together and with the same words.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._items: deque[T] = deque()
        self._changed = Condition()
        self._closed = False
        self._error: BaseException | None = None

    def put(self, item: T) -> None:
        """Adds an item, waiting while `depth` items lie there."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._depth)
            if self._closed:
                raise self._error or Closed
            self._items.append(item)
            self._changed.notify_all()

    def fill(self, items: Iterable[T]) -> None:
        """Puts all items and closes, with the error if making or putting one raises."""
        with self.closing():
            for item in items:
                self.put(item)

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or bool(self._items))
                if self._error is not None:
                    raise self._error
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item

    def close(self, error: BaseException | None = None) -> None:
        """Says that this end is done; what the first to say it gives as the reason is the reason."""
        with self._changed:
            if not self._closed:
                self._closed, self._error = True, error
            if self._error is not None:
                self._items.clear()
            self._changed.notify_all()

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Closes on leaving, with the error that is on its way if there is one."""
        try:
            yield
        except BaseException as error:  # every way out counts, an interrupt too: the other thread waits for it
            self.close(error)
            raise
        self.close()
