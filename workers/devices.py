"""The device that a worker uses: which, what it is called, how it is kept the same, and the models in its memory."""

import gc
import platform
from collections.abc import Callable, Iterable
from importlib import metadata
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from latentmill.errors import InvalidRequest, OutOfMemory
from latentmill.specs import Execution
from workers.recent import RecentlyUsed

if TYPE_CHECKING:
    from workers.models import Vae

DeviceKind = Literal["cpu", "cuda"]
Engine = Literal["torch", "onnx"]
_TOLD = {"latentmill", "torch", "numpy", "onnxruntime", "cuda", "cudnn"}

# What torch's allocators, the driver, cuBLAS and onnxruntime say in an error that has no type of its own.
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "bad_alloc", "ALLOC_FAILED", "Failed to allocate memory")


def pick_device(setting: str) -> DeviceKind:
    """The kind of device for `auto`, `cpu` or `cuda`; `cuda` where there is none is refused."""
    has_cuda = setting != "cpu" and torch.cuda.is_available()
    if setting == "auto":
        return "cuda" if has_cuda else "cpu"
    if setting == "cpu":
        return "cpu"
    if setting == "cuda" and has_cuda:
        return "cuda"
    raise InvalidRequest(
        "This machine has no CUDA device that torch can use; start the worker with --device cpu"
        if setting == "cuda"
        else f"There is no device {setting!r}; choose auto, cpu or cuda"
    )


def device_name(kind: DeviceKind) -> str:
    """What decoded bits depend on: the GPU's name, or the processor's with the vector instructions torch uses."""
    if kind == "cuda":
        return torch.cuda.get_device_name(0)
    return f"{_processor()} ({torch.backends.cpu.get_cpu_capability()})"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:  # not Linux
        names = []
    return names[0] if names and names[0] else platform.processor() or platform.machine()


def execution_versions(kind: DeviceKind, engine: str = "torch", libraries: Iterable[str] = ()) -> dict[str, str]:
    """Versions that decoded bytes depend on; `libraries` are packages that build the model's networks.

    The names of an execution's own versions may stand for them: those that are always told are told once.
    """
    versions = {
        "latentmill": metadata.version("latentmill"),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    versions |= {name: _version(name) for name in libraries if name not in _TOLD}
    if engine == "onnx":
        from workers.models.onnx.runtime import load_onnxruntime

        versions["onnxruntime"] = str(load_onnxruntime().__version__)
    if kind == "cuda":
        versions["cuda"] = str(torch.version.cuda)
        versions["cudnn"] = str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]
    return versions


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # a folder without metadata, or gone from this worker
        return "unknown"


def pin_execution(execution: Execution) -> None:
    """Sets what torch lets vary between processes: threads, TF32, the choice of cuDNN kernels.

    Denormals stay as they are: flushing is a property of each thread, and torch's own threads would not follow.
    """
    torch.set_num_threads(execution.threads)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def is_out_of_memory(error: BaseException) -> bool:
    """True where a device, or the machine, had no memory left."""
    if isinstance(error, OutOfMemory | MemoryError | torch.OutOfMemoryError):
        return True
    nameless = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime.")
    return nameless and any(words in str(error) for words in OUT_OF_MEMORY)


class ModelCache:
    """Loaded models by digest and device, the ones not used for longest dropped beyond `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._models: RecentlyUsed[tuple[str, str], Vae] = RecentlyUsed(max_bytes)

    def get(self, digest: str, device: str, load: Callable[[], "Vae"]) -> "Vae":
        """The model, loaded if it is not here; the newest stays even when it alone is too large."""

        def sized() -> "tuple[Vae, int]":
            vae = load()
            return vae, vae.size_bytes

        return self._models.get((digest, device), sized)

    def clear(self) -> None:
        """Let go of all models, and of what torch keeps of the device for later."""
        self._models.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
