"""How large a worker's child may grow."""

from service.settings import GIB, WorkerSettings
from workers.memory import LEAST_BYTES, child_bytes, machine_bytes


def test_a_child_has_room_for_its_caches_and_no_more_than_its_share_of_the_machine() -> None:
    assert 0 < machine_bytes() < 2**50
    small = WorkerSettings(model_cache_bytes=1, density_cache_bytes=1)
    assert child_bytes(small) == min(2 * GIB + 2, max(LEAST_BYTES, machine_bytes() // 2))
    assert child_bytes(WorkerSettings(slots=10**6)) == LEAST_BYTES
    assert child_bytes(WorkerSettings(memory_bytes=5)) == 5
