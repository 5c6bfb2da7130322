"""What is measured of many requests: seconds by kind, and what went wrong."""

from collections import Counter, defaultdict

SHARES = (0.5, 0.95, 0.99)


class Times:
    """Seconds of each kind of request, and the errors among them."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.errors: Counter[str] = Counter()

    def add(self, kind: str, seconds: float) -> None:
        self.seconds[kind].append(seconds)

    def fail(self, kind: str, reason: object) -> None:
        self.errors[f"{kind}: {reason}"] += 1

    @property
    def count(self) -> int:
        return sum(map(len, self.seconds.values()))

    def lines(self) -> list[str]:
        """A table, one line for each kind, and one for the errors."""
        rows = [f"{'':22}{'number':>8}{'p50 ms':>10}{'p95 ms':>10}{'p99 ms':>10}{'longest':>10}"]
        for kind, seconds in sorted(self.seconds.items()):
            ordered = sorted(seconds)
            shown = [*(share_of(ordered, share) for share in SHARES), ordered[-1]]
            rows.append(f"{kind:22}{len(ordered):8}" + "".join(f"{1000 * value:10.1f}" for value in shown))
        rows.append(f"errors: {sum(self.errors.values())} {dict(self.errors) or ''}".rstrip())
        return rows


def share_of(ordered: list[float], share: float) -> float:
    """The value that `share` of the ordered values do not exceed."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
