"""A job's dataset folder on the user's disk: shards in parallel, the manifest last."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

from latentmill.resources.dataset_folder import (
    CARD,
    MANIFEST,
    SUMS,
    ShardFile,
    check_sums,
    read_manifest,
    refuse_another_dataset,
)
from latentmill.resources.disk import disk_errors, write_whole
from latentmill.resources.fetching import Stopped, fetch_shard
from latentmill.transport import Transport

DOWNLOAD_THREADS = 4

Progress = Callable[[int, int], object]  # bytes done, bytes in all


def download_dataset(
    transport: Transport,
    address: str,
    folder: Path,
    *,
    shards: Sequence[ShardFile] | None = None,
    threads: int = DOWNLOAD_THREADS,
    progress: Progress | None = None,
) -> Path:
    """The dataset of the job at `address` in `folder`; the manifest comes last, so that it names only what is there.

    `shards` fetches those alone, without a manifest: what a job that did not succeed left.
    """
    texts: dict[str, bytes] = {}
    if shards is None:
        texts[MANIFEST] = transport.get(f"{address}/manifest").content
        for name in (SUMS, CARD):
            texts[name] = transport.get(f"{address}/files/{name}", accept="*/*").content
        shards = read_manifest(texts[MANIFEST]).shards
        check_sums(texts[SUMS], shards)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        refuse_another_dataset(folder, address.rsplit("/", 1)[-1], shards)
    fetch = _Fetching(transport, address, folder, sum(shard.bytes for shard in shards), progress)
    fetch.run(shards, threads)
    for name in (CARD, SUMS, MANIFEST):
        if name in texts:
            write_whole(folder / name, texts[name])
    return folder


class _Fetching:
    """The shards of one dataset on their way to disk."""

    def __init__(
        self, transport: Transport, address: str, folder: Path, total_bytes: int, progress: Progress | None
    ) -> None:
        self._transport = transport
        self._address = address
        self._folder = folder
        self._total_bytes = total_bytes
        self._progress = progress
        self._done_bytes = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def run(self, shards: Sequence[ShardFile], threads: int) -> None:
        """Fetch all; the first failure stops the others and is raised."""
        with ThreadPoolExecutor(max_workers=max(1, threads), thread_name_prefix="download") as pool:
            try:
                tasks = [pool.submit(self._fetch, shard) for shard in shards]
                wait(tasks, return_when=FIRST_EXCEPTION)
            finally:  # after an interrupt too: what is written so far is where the next run goes on
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
        errors = [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
            raise error

    def _fetch(self, shard: ShardFile) -> None:
        url = f"{self._address}/shards/{shard.index}"
        fetch_shard(self._transport, url, shard, self._folder / shard.name, count=self._count, stop=self._stop)

    def _count(self, more_bytes: int) -> None:
        with self._lock:
            self._done_bytes += more_bytes
            if self._progress is not None:
                self._progress(self._done_bytes, self._total_bytes)
