"""Seconds from POST to `succeeded` for a job of one row."""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from latentmill import Client


@dataclass(frozen=True)
class Latency:
    """Seconds of several one-row jobs, one after the other."""

    seconds: list[float]

    def __str__(self) -> str:
        return (
            f"one row, POST to succeeded: median {statistics.median(self.seconds):.2f} s, "
            f"longest {max(self.seconds):.2f} s of {len(self.seconds)}"
        )


def measure_latency(client: Client, bundle: Path, *, times: int = 10) -> Latency:
    """One-row jobs of a model that the worker has in memory."""
    model = client.models.add(bundle).wait()
    client.jobs.create(model, strategy={"kind": "prior"}, rows=1).wait()
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        client.jobs.create(model, strategy={"kind": "prior"}, rows=1).wait()
        seconds.append(time.perf_counter() - started)
    return Latency(seconds)
