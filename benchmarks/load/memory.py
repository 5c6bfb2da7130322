"""`python -m benchmarks.load.memory`: private memory of the API, beat and the workers over a thousand jobs."""

import argparse
import asyncio
import itertools
from collections import defaultdict
from collections.abc import Iterator

import psutil

from benchmarks.load.line import Line
from benchmarks.load.places import KINDS, Place, place

CHILDREN = ("api", "beat", "prompt", "compute")
WARM_UP = 100  # caches, pools and the threads' arenas have their size then
AT_ONCE = 4
MEBIBYTE = 2**20
JOB = {"strategy": {"kind": "prior"}, "rows": 2000, "shard_rows": 1000}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load.memory", description=__doc__)
    parser.add_argument("--database", choices=KINDS, default="sqlite")
    parser.add_argument("--jobs", type=int, default=1000)
    asked = parser.parse_args()
    with place(asked.database) as where:
        print("\n".join(measure(where, asked.jobs)), flush=True)


def measure(where: Place, jobs: int) -> list[str]:
    """A line for each process of the stack: its private MiB after each tenth of the jobs."""
    numbers, seen = itertools.count(1), defaultdict(list)
    steps = [WARM_UP, *([jobs // 10] * 10)]
    for step in steps:
        asyncio.run(_make(where, numbers, step))
        for child in CHILDREN:
            seen[child].append(_private(where, child))
    done = list(itertools.accumulate(steps))
    lines = [f"{'jobs':12}" + "".join(f"{number:>8}" for number in done) + f"{'MiB per 1,000 jobs':>22}"]
    for child, sizes in seen.items():
        grown = 1000 * (sizes[-1][0] - sizes[0][0]) / (done[-1] - done[0])
        shown = "".join(f"{size / MEBIBYTE:8.1f}" for size, _ in sizes)
        restarted = "" if sizes[0][1] == sizes[-1][1] else "  (some of its processes were replaced)"
        lines.append(f"{child:12}{shown}{grown / MEBIBYTE:22.2f}{restarted}")
    return lines


async def _make(where: Place, numbers: Iterator[int], count: int) -> None:
    """So many jobs, a few at a time: submitted, listened to, waited for, and their first shard downloaded."""
    wanted = iter(range(count))

    async def one_after_the_other() -> None:
        async with Line(where.stack.url, where.stack.api_key) as line:
            for _ in wanted:
                made = await line.ask("POST", "/v1/jobs", {"model": where.model, "seed": next(numbers), **JOB})
                path = f"/v1/jobs/{made.json()['id']}"
                while (seen := (await line.ask("GET", f"{path}?wait=30")).json())["finished_at"] is None:
                    pass
                if seen["state"] != "succeeded":
                    raise RuntimeError(f"{path}: {seen['state']} {seen['error']}")
                events = [event async for event in line.listen(f"{path}/events")]
                shard = await line.ask("GET", f"{path}/shards/0")
                if shard.status != 200 or not events:
                    raise RuntimeError(f"{path}: {shard.status}, {len(events)} events")

    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))


def _private(where: Place, child: str) -> tuple[int, frozenset[int]]:
    """Bytes that the child's processes have for themselves, and who they are."""
    total, pids = 0, set()
    for process in where.family(child):
        try:
            total += process.memory_full_info().uss
            pids.add(process.pid)
        except psutil.NoSuchProcess:
            continue
    return total, frozenset(pids)


if __name__ == "__main__":
    main()
