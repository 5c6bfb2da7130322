"""Whether a lease that ran out may be held against its holder: not where the database was away meanwhile."""

import time

from service.settings import WorkSettings


class Outages:
    """Notices, from beat's side, that the database was away, and then gives holders the time to renew their leases.

    Faults of the surroundings count as no attempt: an outage longer than a lease would otherwise count for every item
    in hand. Nothing is known of the time before beat itself began.
    """

    def __init__(self, work: WorkSettings) -> None:
        self._usual_seconds = work.sweep_seconds + work.lease_seconds / 4
        self._grace_seconds = work.lease_seconds / 4  # a heartbeat is due sooner, and tries again all the time
        self._answered_at: float | None = None
        self._grace_until: float | None = None

    def leases_count(self, now: float | None = None) -> bool:
        """Whether leases may be judged now. To be asked at each sweep, once the database has answered."""
        now = time.monotonic() if now is None else now
        was_away = self._answered_at is None or now - self._answered_at > self._usual_seconds
        self._answered_at = now
        # While every sweep is slow, as on a database that is only busy, every second one still judges.
        if was_away and self._grace_until is None:
            self._grace_until = now + self._grace_seconds
        if self._grace_until is not None and now < self._grace_until:
            return False
        self._grace_until = None
        return True
