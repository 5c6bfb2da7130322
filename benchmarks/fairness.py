"""Who waits for whom on a real stack with two children: `python -m benchmarks.fairness`."""

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from latentmill import Client
from latentmill.demo.run import BUNDLE
from latentmill.resources.jobs import Job
from latentmill.stack import Stack

PRIOR = {"kind": "prior"}
LARGE_SHARDS, SHARD_ROWS = 2_000, 256
MANY_JOBS = 500
TRIES = 5


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness", description=__doc__)
    parser.add_argument("--jobs", type=int, default=MANY_JOBS, help="of the tenant that asks for many")
    parser.add_argument("--shards", type=int, default=LARGE_SHARDS, help="of the large job")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Stack(data_dir=folder, port=0, workers=2) as stack:
        client = Client(url=stack.url, api_key=stack.api_key)
        behind_a_large_job(client, Path(folder), arguments.shards)
        behind_a_busy_tenant(client, Client(url=stack.url, api_key=key_of_another(stack)), arguments.jobs)


def behind_a_large_job(client: Client, folder: Path, shards: int) -> None:
    """A one-shard job submitted while a large one of the same tenant runs."""
    model = client.models.add(BUNDLE).wait()
    large = client.jobs.create(model, strategy=PRIOR, rows=shards * SHARD_ROWS, shard_rows=SHARD_ROWS)
    while large.refresh().data["progress"]["shards_done"] < 10:
        time.sleep(0.05)
    seconds = [seconds_to_start(client.jobs.create(model, strategy=PRIOR, rows=SHARD_ROWS)) for _ in range(TRIES)]
    done = large.refresh().data["progress"]["shards_done"]
    print(f"a job of one shard behind {shards - done:,} of {shards:,} shards started after {shown(seconds)}")
    large.wait()
    print(f"the children made {' and '.join(map(str, made_by_each(folder, large)))} shards of the large job")


def behind_a_busy_tenant(client: Client, other: Client, jobs: int) -> None:
    """A one-shard job of one tenant, submitted when another has submitted hundreds."""
    model, others = client.models.add(BUNDLE).wait(), other.models.add(BUNDLE).wait()
    many = [client.jobs.create(model, strategy=PRIOR, rows=SHARD_ROWS, seed=seed) for seed in range(jobs)]
    seconds = [seconds_to_start(other.jobs.create(others, strategy=PRIOR, rows=SHARD_ROWS)) for _ in range(TRIES)]
    left = sum(not job.refresh().ended for job in many)
    print(f"with {left} of another tenant's {jobs} jobs still to do, a tenant's job started after {shown(seconds)}")
    for job in many:
        job.cancel()


def seconds_to_start(job: Job) -> float:
    """From its submission to its first claim, by the service's own clock."""
    while job.refresh().data["started_at"] is None:
        time.sleep(0.02)
    queued, started = (parsed(job.data[name]) for name in ("queued_at", "started_at"))
    return started - queued


def parsed(moment: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(moment).timestamp()


def shown(seconds: list[float]) -> str:
    return f"{', '.join(f'{each:.2f}' for each in sorted(seconds))} s"


def made_by_each(folder: Path, job: Job) -> list[int]:
    """How many of the job's shards each process made."""
    with closing(sqlite3.connect(folder / "latentmill.db", timeout=20)) as database:
        counts = "SELECT count(*) FROM work_items WHERE job_id = ? AND kind = 'shard' AND state = 'done' GROUP BY owner"
        return [count for (count,) in database.execute(counts, [job.id])]


def key_of_another(stack: Stack) -> str:
    """A key of a tenant of its own."""
    environment = {**os.environ, "LATENTMILL_DATA_DIR": str(stack.data_dir)}
    command = [sys.executable, "-m", "service", "keys", "create", "--tenant", "another"]
    made = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return next(word for word in made.stdout.split() if word.startswith("lm_"))


if __name__ == "__main__":
    main()
