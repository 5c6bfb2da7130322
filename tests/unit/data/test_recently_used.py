"""What stays in a worker's memory between two items."""

import pytest

from workers.recent import RecentlyUsed


def test_what_was_used_last_stays_within_the_bound() -> None:
    loads: list[str] = []
    cache: RecentlyUsed[str, str] = RecentlyUsed(10)

    def load(name: str, size: int) -> str:
        def made() -> tuple[str, int]:
            loads.append(name)
            return name.upper(), size

        return cache.get(name, made)

    assert [load(name, 5) for name in "aba"] == ["A", "B", "A"]
    load("c", 5)  # takes the place of b
    load("a", 5)
    assert loads == ["a", "b", "c"]
    load("large", 50)
    assert cache.get("large", lambda: pytest.fail("loaded twice")) == "LARGE"
    load("a", 5)
    assert loads == ["a", "b", "c", "large", "a"]
