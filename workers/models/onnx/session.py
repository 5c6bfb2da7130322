"""A graph as a session of onnxruntime: options that leave nothing to chance, and errors in words."""

import re
from typing import Any

import torch

from latentmill.errors import InvalidBundle, OutOfMemory
from workers.devices import is_out_of_memory
from workers.models.onnx.runtime import load_onnxruntime

CUDA_PROVIDER, CPU_PROVIDER = "CUDAExecutionProvider", "CPUExecutionProvider"
_ERRORS_ONLY = 3
# The arena takes what a batch needs and no power of two of it; kernels of cuDNN are chosen by rule, not by a race.
_CUDA_OPTIONS = {
    "arena_extend_strategy": "kSameAsRequested",
    "cudnn_conv_algo_search": "DEFAULT",
    "cudnn_conv_use_max_workspace": "1",
    "use_tf32": "0",
}
_NO_CUDA = (
    "This worker's onnxruntime knows no CUDA: models of the engine onnx run on a CPU. Install onnxruntime-gpu in place "
    "of onnxruntime to have them run on the GPU, too."
)

_SOURCE = re.compile(r"/onnxruntime_src/\S+ [^()]*\((?:[^()]|\([^()]*\))*\)(?: const)? ")  # a file, and a C++ function

Providers = list[tuple[str, dict[str, str]]]


def open_session(graph: bytes, part: str, *, device: torch.device, threads: int) -> Any:
    """The graph, ready to run on `device`. Raises InvalidBundle where onnxruntime does not take it, or OutOfMemory."""
    onnxruntime = load_onnxruntime()
    providers = providers_for(device, onnxruntime.get_available_providers())
    try:
        session = onnxruntime.InferenceSession(graph, session_options(threads), providers=providers, enable_fallback=0)
    except Exception as error:  # its errors have no common type
        if is_out_of_memory(error):
            raise OutOfMemory(f"There is no memory for the {part} on the device {device}.") from error
        raise InvalidBundle(
            f"{part}.onnx cannot be loaded by onnxruntime {onnxruntime.__version__}: {first_line(error)}"
        ) from error
    session._model_bytes = b""  # kept to start again on another device, which is never wanted: as large as the model
    refuse_substitute(device, session.get_providers())
    return session


def session_options(threads: int) -> Any:
    """Options under which the same batch gives the same bytes, in any process, and memory does not grow."""
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.use_deterministic_compute = True
    options.enable_profiling = False
    options.enable_mem_pattern = False  # remembers an arrangement of memory for each size of batch
    options.enable_cpu_mem_arena = False  # keeps the most that any batch ever took
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others work on these processors, too
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def providers_for(device: torch.device, available: list[str]) -> Providers:
    """Who runs the nodes on `device`, in the order in which they are asked. Raises InvalidBundle where nobody can."""
    if device.type == "cpu":
        return [(CPU_PROVIDER, {})]
    if CUDA_PROVIDER not in available:
        raise InvalidBundle(_NO_CUDA)
    options = {**_CUDA_OPTIONS, "device_id": str(device.index or 0)}
    return [(CUDA_PROVIDER, options), (CPU_PROVIDER, {})]


def refuse_substitute(device: torch.device, providers: list[str]) -> None:
    """Raises InvalidBundle where onnxruntime took the CPU in place of a GPU, which it does by itself."""
    if device.type == "cuda" and CUDA_PROVIDER not in providers:
        raise InvalidBundle(
            "onnxruntime could not start on the GPU (its log names the library of CUDA that is missing): install the "
            "onnxruntime-gpu that is built for the same CUDA as this worker's torch."
        )


def first_line(error: BaseException) -> str:
    """What onnxruntime says, in one line, without the places in its source."""
    text = _SOURCE.sub("", " ".join(str(error).split()))
    return text[:500] or type(error).__name__
