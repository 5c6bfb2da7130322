"""How fast a model decodes on a device, and with which batch: the execution that its jobs will use."""

import gc
import os
import resource
import time

import torch

from latentmill.specs import Execution, MeasuredExecution, VaeManifest
from workers.devices import DeviceKind, device_name, execution_versions, is_out_of_memory, pin_execution
from workers.models.architectures.registry import library_of
from workers.models.vae import Vae

_CANDIDATES = (64, 128, 256, 512, 1024)
_SECONDS_AT_MOST = 1.5
_REPEATS = 3
_MEMORY_SHARE = 0.25  # of what the device has: others work on it too
_WORTH_A_LARGER_BATCH = 1.05
_LIVE_VALUES = 3  # a layer's input, its output, and what its kernel sets aside


def measure(
    vae: Vae, device: DeviceKind, *, threads: int, values_per_row: int, row_bytes: int
) -> tuple[MeasuredExecution | None, list[str]]:
    """The fastest of a few batch sizes; the smaller of two that differ little. None if not even the least fits.

    `values_per_row` is the most that one step holds for a row: it bounds the batch. A batch that runs out of memory all
    the same ends the search, and is told in a warning.
    """
    fits = int(_MEMORY_SHARE * _memory_bytes(device)) // (4 * _LIVE_VALUES * values_per_row)
    candidates = [batch for batch in _CANDIDATES if batch <= fits]
    threads_before = torch.get_num_threads()
    best: MeasuredExecution | None = None
    warnings: list[str] = []
    deadline = time.monotonic() + _SECONDS_AT_MOST
    try:
        for batch in candidates:
            execution = _execution(vae.manifest, device, batch, threads)
            pin_execution(execution)
            speed = _rows_per_s(vae, batch, deadline)
            if speed is None:
                if best is not None:
                    warnings.append(
                        f"A batch of {batch} rows ran out of memory on this worker's device {device}: jobs that leave "
                        f"`execution.batch_rows` out take {best.execution.batch_rows}."
                    )
                break
            if best is None or speed > _WORTH_A_LARGER_BATCH * best.rows_per_s:
                best = MeasuredExecution(execution=execution, rows_per_s=speed, bytes_per_row=row_bytes)
            if time.monotonic() > deadline:
                break
    finally:
        torch.set_num_threads(threads_before)
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
    return best, warnings


def _execution(manifest: VaeManifest, device: DeviceKind, batch_rows: int, threads: int) -> Execution:
    library = library_of(manifest)
    return Execution(
        device=device,
        device_name=device_name(device),
        engine=manifest.engine,
        batch_rows=batch_rows,
        threads=threads,
        versions=execution_versions(device, manifest.engine, [] if library is None else [library]),
    )


def _rows_per_s(vae: Vae, batch: int, deadline: float) -> float | None:
    """Rows per second of the fastest of a few batches, after one that warms up unless that alone took long.

    None where the device has no memory for such a batch.
    """
    try:
        return _timed(vae, batch, deadline)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def _timed(vae: Vae, batch: int, deadline: float) -> float:
    latents = torch.randn(batch, vae.manifest.latent.size, generator=torch.Generator().manual_seed(0))
    labels = None if vae.manifest.labels is None else torch.zeros(batch, dtype=torch.int64)
    seconds = []
    for _ in range(1 + _REPEATS):
        start = time.perf_counter()
        vae.decode(latents, labels).sum().item()  # the sum waits for a device that works on its own
        seconds.append(time.perf_counter() - start)
        if time.monotonic() > deadline:
            break
    return batch / max(min(seconds), 1e-9)


def _memory_bytes(device: DeviceKind) -> int:
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    allowed, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return physical if allowed == resource.RLIM_INFINITY else min(physical, allowed)
