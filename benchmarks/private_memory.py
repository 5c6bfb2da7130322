"""Peak memory of a piece of work in a process of its own: what is private to it, and all that is resident."""

import multiprocessing
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEBIBYTE = 2**20
POLL_SECONDS = 0.01


@dataclass(frozen=True)
class Peak:
    """CPU seconds, and bytes above what the process had before: private pages, and with mapped files' pages too."""

    cpu_seconds: float
    private: int
    resident: int

    def __str__(self) -> str:
        return (
            f"{self.cpu_seconds:.1f} s of one core, {self.private / MEBIBYTE:,.0f} MiB private, "
            f"{self.resident / MEBIBYTE:,.0f} MiB with the pages of mapped files"
        )


def peak_of(work: Callable[..., Any], *arguments: Any) -> Peak:
    """Run `work(*arguments)` in a new process, watched while it runs."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_watched, (work, arguments))


def _watched(work: Callable[..., Any], arguments: tuple[Any, ...]) -> Peak:
    done = threading.Event()
    before = _resident()
    largest = list(before)

    def watch() -> None:
        while not done.wait(POLL_SECONDS):
            largest[:] = map(max, largest, _resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.process_time()
    try:
        work(*arguments)
    finally:
        done.set()
        watcher.join()
    private, resident = (peak - start for peak, start in zip(largest, before, strict=True))
    return Peak(time.process_time() - started, private, resident)


def _resident() -> tuple[int, int]:
    """Bytes of anonymous pages, and of all pages, that are in memory."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return tuple(int(lines[name].split()[0]) * 1024 for name in ("RssAnon", "VmRSS"))
