"""`python -m benchmarks.load`: 200 clients that ask and 20 that submit, while the workers are busy."""

import argparse
import asyncio
import time

from benchmarks.load.crowd import Crowd, Gathering
from benchmarks.load.places import KINDS, Place, place

SHARDS = 2000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--database", choices=KINDS, action="append", help="default: both, one after the other")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two requests of a client")
    asked = parser.parse_args()
    for kind in asked.database or KINDS:
        with place(kind) as where:
            print(f"{kind}: " + "\n".join(measure(where, Crowd(pause_seconds=asked.pause), asked.seconds)), flush=True)


def measure(where: Place, crowd: Crowd, seconds: float) -> list[str]:
    """Lines that say how the service did."""
    rows = SHARDS * 1000
    job = where.client.jobs.create(where.model, strategy={"kind": "prior"}, rows=rows, seed=1, shard_rows=1000)
    stack = where.stack
    cpu, began = where.cpu_seconds("api"), time.monotonic()
    gathering = Gathering(stack.url, stack.api_key, where.model, job.id, crowd, seconds)
    times = asyncio.run(gathering.run())
    took, cpu = time.monotonic() - began, where.cpu_seconds("api") - cpu
    done = where.client.jobs.get(job.id).data["progress"]["shards_done"]
    return [
        f"{times.count} requests and events in {took:.0f} s; CPU of the API {100 * cpu / took:.0f} % of one core; "
        f"the workers made {done} shards of the long job",
        *times.lines(),
    ]


if __name__ == "__main__":
    main()
