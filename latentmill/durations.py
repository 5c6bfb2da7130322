"""Durations as people type them: 45s, 30m, 24h, 90d."""

import re

from latentmill.errors import InvalidRequest

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
WRITTEN = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([smhd]?)")


def seconds_of(text: str) -> float:
    """How many seconds `text` means; a number alone is seconds."""
    found = WRITTEN.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise InvalidRequest(f"{text!r} is no duration; say 45s, 30m, 24h or 90d.")
    return float(found[1]) * UNITS[found[2] or "s"]
