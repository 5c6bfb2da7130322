"""How much memory there is, and how much of it a worker's child may grow to before another takes its place."""

import os
from pathlib import Path

from service.settings import GIB, WorkerSettings

CGROUP_FILES = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
BESIDE_CACHES_BYTES = 2 * GIB  # torch, and the batches in hand
LEAST_BYTES = GIB  # with less, every item would be the last of its child


def machine_bytes() -> int:
    """The memory of this machine, or what a container may have of it."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in CGROUP_FILES:
        try:
            limit = path.read_text().strip()
        except OSError:  # no container, or of the other kind
            continue
        if limit.isdigit():
            total = min(total, int(limit))
    return total


def child_bytes(worker: WorkerSettings) -> int:
    """The resident bytes beyond which a child ends after the item in hand: as set, else what its caches may fill, but
    not more than its share of half of the machine."""
    if worker.memory_bytes is not None:
        return worker.memory_bytes
    wanted = worker.model_cache_bytes + worker.density_cache_bytes + BESIDE_CACHES_BYTES
    return max(LEAST_BYTES, min(wanted, machine_bytes() // 2 // worker.slots))
