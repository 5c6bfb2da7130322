"""How graphs are run: the same bytes wherever the same batch is run, bounded memory, and no word to anybody."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from latentmill.errors import InvalidBundle
from latentmill.specs import Execution
from tests.unit.onnx.made_graphs import MANIFEST, convolutional, decoder, node, write
from workers.devices import is_out_of_memory
from workers.models import load_vae, open_bundle
from workers.models.inspection import try_bundle
from workers.models.onnx.runtime import load_onnxruntime
from workers.models.onnx.session import CPU_PROVIDER, CUDA_PROVIDER, first_line, providers_for, refuse_substitute

LATENT = 16
ROOT = Path(__file__).resolve().parents[3]

DECODED = """
import hashlib, json, os, sys
from pathlib import Path
import torch
from workers.models import load_vae, open_bundle

def decoded(threads):
    torch.set_num_threads(threads)
    vae = load_vae(opened, threads=threads, inspected=True)
    latents = torch.randn(256, 16, generator=torch.Generator().manual_seed(0))
    rows = {batch: vae.decode(latents[64 * batch : 64 * batch + 64]) for batch in json.loads(sys.argv[2])}
    return hashlib.sha256(b"".join(rows[batch].numpy().tobytes() for batch in sorted(rows))).hexdigest()

def resident_bytes():
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]) * 1024

def grown(times):
    vae = load_vae(opened, threads=1, inspected=True)
    for number in range(8 + times):
        vae.decode(torch.zeros(64 * (1 + number % 4), 16))
        before = resident_bytes() if number == 8 else 0 if number < 8 else before
    return resident_bytes() - before

opened = open_bundle(Path(sys.argv[1]))
one = decoded(1)
tasks = len(os.listdir("/proc/self/task"))
print(json.dumps({"one": one, "tasks": tasks, "two": decoded(2), "grown": grown(200)}))
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    manifest = {**MANIFEST, "latent": {"shape": [LATENT]}, "rows": {"kind": "image", "shape": [1, 16, 16]}}
    return write(tmp_path / "conv.vae.zip", manifest, convolutional(LATENT))


def in_a_process(bundle: Path, order: list[int], cache: Path) -> dict:
    command = [sys.executable, "-W", "error", "-c", DECODED, str(bundle), json.dumps(order)]
    own = {"HOME": str(cache), "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1", "CI": ""}
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | own)
    assert (result.returncode, result.stderr) == (0, "")
    return dict(json.loads(result.stdout.splitlines()[-1]))


def test_processes_that_cut_a_job_differently_give_the_same_bytes(bundle, tmp_path):
    """With one thread and with two. Nor do they grow; nor report what they run: that would take a thread and a file."""
    cache = tmp_path / "cache"
    found = [in_a_process(bundle, order, cache) for order in ([0, 1, 2, 3], [3, 1, 0, 2])]
    assert found[0]["one"] == found[1]["one"]
    assert found[0]["two"] == found[1]["two"]
    assert [each["tasks"] for each in found] == [1, 1]
    assert max(each["grown"] for each in found) < 16 * 2**20  # what was decoded has 32 MiB, and as much before its end
    assert not cache.exists()


def test_a_session_that_is_opened_anew_gives_the_same_bytes(bundle):
    latents = torch.randn(64, LATENT, generator=torch.Generator().manual_seed(1))
    opened = open_bundle(bundle)
    for threads in (1, 2):
        vaes = [load_vae(opened, threads=threads, inspected=True) for _ in range(2)]
        assert torch.equal(vaes[0].decode(latents), vaes[1].decode(latents))


def test_inputs_that_lie_anywhere_give_the_same_bytes(bundle):
    vae = load_vae(open_bundle(bundle), inspected=True)
    latents = torch.randn(64, LATENT, generator=torch.Generator().manual_seed(1))
    unaligned = torch.empty(64 * LATENT + 1)[1:].reshape(64, LATENT).copy_(latents)
    turned = latents.t().contiguous().t()
    expected = vae.decode(latents)
    assert torch.equal(vae.decode(unaligned), expected)
    assert torch.equal(vae.decode(turned), expected)


def test_an_execution_that_no_graph_has_is_refused(tmp_path):
    opened = open_bundle(write(tmp_path / "a.zip"))
    execution = Execution(device="cpu", device_name="x", engine="onnx", batch_rows=64, threads=1, versions={})
    load_vae(opened, execution=execution).decode(torch.zeros(1, 2))
    for changes in ({"dtype": "float16"}, {"layout": "channels_last"}):
        with pytest.raises(InvalidBundle, match="runs in float32 and contiguous"):
            load_vae(opened, execution=execution.model_copy(update=changes))


def test_providers_are_chosen_by_the_device():
    assert providers_for(torch.device("cpu"), [CUDA_PROVIDER, CPU_PROVIDER]) == [(CPU_PROVIDER, {})]
    chosen = providers_for(torch.device("cuda", 1), [CUDA_PROVIDER, CPU_PROVIDER])
    assert [name for name, _ in chosen] == [CUDA_PROVIDER, CPU_PROVIDER]
    assert chosen[0][1]["device_id"] == "1"
    assert chosen[0][1]["use_tf32"] == "0"
    assert chosen[0][1]["cudnn_conv_algo_search"] == "DEFAULT"
    with pytest.raises(InvalidBundle, match="Install onnxruntime-gpu"):
        providers_for(torch.device("cuda"), ["AzureExecutionProvider", CPU_PROVIDER])


def test_a_gpu_that_onnxruntime_does_not_start_is_no_cpu(bundle):
    refuse_substitute(torch.device("cpu"), [CPU_PROVIDER])
    refuse_substitute(torch.device("cuda"), [CUDA_PROVIDER, CPU_PROVIDER])
    with pytest.raises(InvalidBundle, match="built for the same CUDA"):
        refuse_substitute(torch.device("cuda"), [CPU_PROVIDER])


@pytest.mark.skipif(
    CUDA_PROVIDER in load_onnxruntime().get_available_providers(), reason="needs an onnxruntime of the CPU"
)
def test_a_worker_whose_onnxruntime_knows_no_gpu_measures_the_cpu_and_says_why(bundle):
    found = try_bundle(bundle, devices=["cpu", "cuda"], threads=1)
    assert list(found.executions) == ["cpu"]
    assert any("Install onnxruntime-gpu" in warning for warning in found.warnings)


def test_what_onnxruntime_says_is_told_in_a_line():
    said = first_line(RuntimeError("a node: /onnxruntime_src/core/a.h:91 ns::F(const int&, bool) Input shape:{1,3}\n"))
    assert said == "a node: Input shape:{1,3}"


def test_an_operator_without_a_kernel_is_told_in_words(tmp_path):
    nodes = [node("MatMul", "z W", "h"), node("BitShift", "i j", "k", direction="LEFT"), node("Add", "h c", "x")]
    weights = {"i": np.array([1], np.int16), "j": np.array([1], np.int16), "c": np.zeros(3, np.float32)}
    with pytest.raises(InvalidBundle, match=r"decoder.onnx cannot be loaded by onnxruntime [0-9.]+:.*BitShift"):
        load_vae(open_bundle(write(tmp_path / "a.zip", MANIFEST, decoder(*nodes, weights=weights))), inspected=True)


def test_memory_that_runs_out_is_told_from_other_errors():
    onnxruntime = load_onnxruntime()
    kinds = onnxruntime.capi.onnxruntime_pybind11_state
    assert is_out_of_memory(
        kinds.Fail("[ONNXRuntimeError] : 1 : FAIL : Failed to allocate memory for requested buffer")
    )
    assert is_out_of_memory(kinds.RuntimeException("Status Message: std::bad_alloc"))
    assert not is_out_of_memory(kinds.Fail("the graph is wrong"))
    assert not is_out_of_memory(ValueError("Failed to allocate memory"))
