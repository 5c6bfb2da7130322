"""Measuring a model where memory runs out: in a process of its own, whose memory is really bounded."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

VALUES = 2**17  # of a row: half a mebibyte

MEASURED = """
import json, resource, sys
from pathlib import Path
from latentmill.errors import InvalidBundle
from workers.models import measuring
from workers.models.inspection import inspect_bundle

def inspected(mebibytes):
    if mebibytes is not None:
        used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize"))
        resource.setrlimit(resource.RLIMIT_AS, (1024 * (used + 1024 * mebibytes), resource.RLIM_INFINITY))
        measuring._SECONDS_AT_MOST = 60  # memory must end the search, also on a busy machine
    try:
        found = inspect_bundle(Path(sys.argv[1]), devices=["cpu"], threads=1)
    except InvalidBundle as error:
        return None, [error.detail]
    return found.executions["cpu"].execution.batch_rows, found.warnings

print(json.dumps([inspected(mebibytes) for mebibytes in (None, 110, 40)]))
"""


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    path = tmp_path / "wide.vae.zip"
    steps = [
        {"layer": "Linear", "in_features": 2, "out_features": VALUES},
        {"layer": "Sigmoid"},
        {"layer": "Reshape", "shape": [1, 256, 512]},
    ]
    manifest = {
        "schema": 1,
        "name": "wide",
        "engine": "torch",
        "latent": {"shape": [2]},
        "rows": {"kind": "image", "shape": [1, 256, 512]},
        "likelihood": {"kind": "bernoulli"},
        "architecture": {"name": "sequential", "decoder": steps},
    }
    generator = np.random.default_rng(0)
    weights = {
        "decoder.0.weight": generator.random((VALUES, 2), dtype=np.float32),
        "decoder.0.bias": generator.random(VALUES, dtype=np.float32),
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("vae.json", json.dumps(manifest))
        archive.writestr("weights.safetensors", save(weights))
    return path


def test_a_batch_that_runs_out_of_memory_is_halved_and_told_and_one_of_64_rows_is_refused(wide: Path) -> None:
    command = [sys.executable, "-c", MEASURED, str(wide)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    (_, unbound), (batch_rows, warnings), (none, refusal) = json.loads(done.stdout)
    assert not any("memory" in warning for warning in unbound)
    assert batch_rows == 64
    assert any("ran out of memory on this worker's device cpu" in warning for warning in warnings), warnings
    assert none is None
    assert "A batch of 64 rows does not fit into the memory of any device here (cpu)" in refusal[0]
