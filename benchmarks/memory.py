"""Peak memory of the compute worker's processes while they make a small job and a large one."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from latentmill import Client
from latentmill.stack import Stack

MEBIBYTE = 2**20


@dataclass(frozen=True)
class PeakMemory:
    """Peak resident bytes of the compute worker, by the job's rows; one job has one shard if `shard_rows` says so."""

    by_rows: dict[int, int]

    def __str__(self) -> str:
        peaks = ", ".join(f"{peak / MEBIBYTE:,.0f} MiB at {rows:,} rows" for rows, peak in self.by_rows.items())
        return f"peak memory of the compute worker: {peaks}"


def measure_memory(client: Client, stack: Stack, bundle: Path, *, rows: tuple[int, ...]) -> PeakMemory:
    """Watches jobs of these sizes, each as a single shard: the hardest case for memory."""
    model = client.models.add(bundle).wait()
    peaks = {}
    for count in rows:
        job = client.jobs.create(model, strategy={"kind": "prior"}, rows=count, seed=1, shard_rows=count)
        peaks[count] = _peak_while(job.wait, stack)
    return PeakMemory(peaks)


def _peak_while(wait, stack: Stack) -> int:
    done = threading.Event()
    peak = 0

    def watch() -> None:
        nonlocal peak
        worker = psutil.Process(stack.children["compute"].process_id)
        while not done.is_set():
            family = [worker, *worker.children(recursive=True)]
            peak = max(peak, sum(process.memory_info().rss for process in family if process.is_running()))
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        wait()
    finally:
        done.set()
        watcher.join()
    return peak
