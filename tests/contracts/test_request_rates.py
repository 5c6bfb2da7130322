"""The buckets that requests take their tokens from."""

from service.keys.operations import Caller
from service.limits.rates import RequestRates
from service.settings import LimitSettings


def test_a_bucket_fills_at_its_rate_and_holds_no_more_than_its_burst():
    now = [0.0]
    rates = RequestRates(LimitSettings(requests_per_second=10, request_burst=3), clock=lambda: now[0])
    caller = Caller("ten_1", "someone", "key_1", frozenset())

    def passed() -> int:
        return sum(rates.take(caller).refused is None for _ in range(20))

    assert (passed(), passed()) == (3, 0)
    now[0] += 0.1
    assert passed() == 1
    now[0] += 3600
    assert passed() == 3
    waited = rates.take(caller).refused
    assert waited is not None
    assert waited.retry_after_seconds == 1
