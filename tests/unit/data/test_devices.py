"""Which device, how it is pinned, and which models stay in its memory."""

import pytest
import torch

from latentmill.errors import InvalidRequest, OutOfMemory
from latentmill.specs import Execution
from workers.devices import (
    ModelCache,
    device_name,
    execution_versions,
    is_out_of_memory,
    pick_device,
    pin_execution,
)


def test_a_device_is_picked_or_refused() -> None:
    assert pick_device("cpu") == "cpu"
    assert pick_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(InvalidRequest, match="choose auto, cpu or cuda"):
        pick_device("tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_here_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"no CUDA device.*--device cpu"):
        pick_device("cuda")


def test_the_processor_is_named_with_its_instructions() -> None:
    assert device_name("cpu").endswith(f"({torch.backends.cpu.get_cpu_capability()})")
    assert {"latentmill", "torch", "numpy"} == set(execution_versions("cpu"))


def test_threads_are_pinned() -> None:
    before = torch.get_num_threads()
    try:
        for threads in (2, 1):
            pin_execution(
                Execution(device="cpu", device_name="x", engine="torch", batch_rows=64, threads=threads, versions={})
            )
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark


@pytest.mark.parametrize(
    ("error", "known"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (OutOfMemory(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_out_of_memory_is_known_when_seen(error: Exception, known: bool) -> None:
    assert is_out_of_memory(error) is known


def test_models_used_last_stay_within_the_bound(make_vae) -> None:
    vae = make_vae()
    loads = []

    def load():
        loads.append(1)
        return vae

    cache = ModelCache(2 * vae.size_bytes)
    for digest in ("a", "b", "a", "c", "a"):  # c takes the place of b
        cache.get(digest, "cpu", load)
    assert len(loads) == 3
    cache.get("b", "cpu", load)
    assert len(loads) == 4
    cache.get("a", "cuda", load)
    assert len(loads) == 5


def test_a_model_larger_than_the_bound_is_kept_alone(make_vae) -> None:
    vae = make_vae()
    cache = ModelCache(1)
    assert cache.get("a", "cpu", lambda: vae) is vae
    assert cache.get("a", "cpu", lambda: pytest.fail("loaded twice")) is vae
