"""Callers whose key was checked a moment ago: they are let in without a question to the database."""

import hashlib
import hmac
import time

from service.keys.operations import Caller

MOST_KEYS = 10_000


class KnownKeys:
    """Keys that were found valid within the last `trusted_seconds`; so long a key may outlive its end.

    Refusals are not remembered, and the keys themselves neither. Used on one thread, that of the event loop.
    """

    def __init__(self, pepper: bytes, trusted_seconds: float) -> None:
        self._pepper = pepper
        self._trusted_seconds = trusted_seconds
        self._callers: dict[bytes, tuple[Caller, float]] = {}

    def caller(self, text: str) -> Caller | None:
        """Whose key `text` is; None where that must be asked."""
        caller, until = self._callers.get(self._name(text), (None, 0.0))
        return caller if time.monotonic() < until else None

    def remember(self, text: str, caller: Caller, asked_at: float) -> None:
        """That `text` was the key of `caller` when the database was asked, not before `asked_at` (monotonic)."""
        if len(self._callers) >= MOST_KEYS:
            self._callers.clear()  # of those that are in use each is asked for once more
        self._callers[self._name(text)] = caller, asked_at + self._trusted_seconds

    def _name(self, text: str) -> bytes:
        # What is looked up depends on the pepper: how long it takes says nothing about other keys.
        return hmac.digest(self._pepper, text.encode(), hashlib.sha256)
