"""How often a tenant may ask: a bucket of tokens for each, in this process of the API."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from latentmill.errors import TooManyRequests
from service.keys.operations import Caller
from service.settings import LimitSettings


@dataclass
class Bucket:
    """Tokens that are left, as of a time; each request takes one, each second brings some."""

    tokens: float
    filled_at: float


@dataclass(frozen=True)
class Taken:
    """What asking came to: headers for the answer, and how long to wait where it was too often."""

    headers: dict[str, str]
    refused: TooManyRequests | None = None

    def check(self) -> None:
        """Raises TooManyRequests when it was."""
        if self.refused is not None:
            raise self.refused


class RequestRates:
    """The buckets of all tenants; used on one thread, that of the event loop."""

    def __init__(self, limits: LimitSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}

    def take(self, caller: Caller) -> Taken:
        """One request of the caller's tenant: all of its keys share one bucket."""
        limits = self._limits.of(caller.tenant)
        rate, burst = limits.requests_per_second, limits.request_burst
        if rate is None:
            return Taken({})
        now = self._clock()
        bucket = self._buckets.setdefault(caller.tenant_id, Bucket(burst, now))
        bucket.tokens = min(burst, bucket.tokens + (now - bucket.filled_at) * rate)
        bucket.filled_at = now
        refused, full_in = None, (burst - bucket.tokens) / rate
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            full_in += 1 / rate
        else:
            refused = TooManyRequests(
                f"More than {burst:,} requests at once, and then {rate:g} a second: the limits request_burst and "
                "requests_per_second. Wait as long as Retry-After says; ?wait= and the events of a job save requests."
            )
            refused.retry_after_seconds = ceil((1 - bucket.tokens) / rate)
        headers = {
            "RateLimit-Policy": f'"requests";q={burst};w={ceil(burst / rate)}',
            "RateLimit": f'"requests";r={int(bucket.tokens)};t={ceil(full_in)}',
        }
        return Taken(headers, refused)
