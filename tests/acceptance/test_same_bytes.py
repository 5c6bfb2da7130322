"""The same job gives the same rows, however it is cut into shards and whoever dies on the way."""

import hashlib
import signal
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from latentmill import Client
from latentmill.stack import Stack
from tests.unit.onnx.made_graphs import MANIFEST, convolutional, write

ROWS = 40_000


def rows_digest(folder: Path) -> str:
    """sha256 of all rows, then all latents, in order."""
    digest = hashlib.sha256()
    for member in ("rows", "latents"):
        for path in sorted(folder.glob("data-*.npz")):
            digest.update(np.load(path)[member].tobytes())
    return digest.hexdigest()


@pytest.fixture
def job_of(client: Client, demo_model):
    def create(**changes):
        body = {"strategy": {"kind": "prior"}, "rows": ROWS, "seed": 11, "include_latents": True, **changes}
        return client.jobs.create(demo_model, **body)

    return create


def test_shard_borders_change_no_row(job_of, tmp_path: Path) -> None:
    digests = {}
    for shards in (1, 3, 7):
        job = job_of(shard_rows=-(-ROWS // shards)).wait()
        assert job.data["progress"]["shards_total"] == shards
        digests[shards] = rows_digest(job.download(tmp_path / str(shards)))
    assert len(set(digests.values())) == 1


def test_shard_borders_change_no_row_of_an_onnx_model(client: Client, tmp_path: Path) -> None:
    manifest = {**MANIFEST, "name": "graphs", "latent": {"shape": [4]}, "rows": {"kind": "image", "shape": [1, 16, 16]}}
    model = client.models.add(write(tmp_path / "graphs.vae.zip", manifest, convolutional(4))).wait()
    digests = set()
    for shards in (1, 3):
        body = {"strategy": {"kind": "prior"}, "rows": 3_000, "seed": 11, "include_latents": True}
        job = client.jobs.create(model, **body, shard_rows=3_000 // shards).wait()
        assert [execution["engine"] for execution in job.manifest()["executions"]] == ["onnx"]
        assert "onnxruntime" in job.manifest()["executions"][0]["versions"]
        digests.add(rows_digest(job.download(tmp_path / str(shards))))
    assert len(digests) == 1


def test_equal_borders_give_equal_files(job_of, tmp_path: Path) -> None:
    whole = job_of(shard_rows=10_000).wait()
    short = job_of(shard_rows=10_000, rows=20_000).wait()
    sha256 = [[shard["sha256"] for shard in job.manifest()["shards"]] for job in (whole, short)]
    assert len(sha256[0]) == 4
    assert sha256[0][:2] == sha256[1]


def compute_children(stack: Stack) -> list[psutil.Process]:
    """The processes that make rows: children of the compute worker, which keeps a tracker of semaphores beside them."""
    children = psutil.Process(stack.children["compute"].process_id).children()
    return [child for child in children if "spawn_main" in " ".join(command_line(child))]


def command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # killed a moment ago
        return []


@pytest.mark.full  # tests/faults kill workers, and more, in make test too
def test_a_killed_worker_changes_no_byte(job_of, stack: Stack, tmp_path: Path) -> None:
    undisturbed = job_of(shard_rows=2_000).wait()
    job = job_of(shard_rows=2_000, metadata={"fault": "SIGKILL"})
    killed = 0
    deadline = time.monotonic() + 60
    while not job.refresh().ended and time.monotonic() < deadline:
        if job.data["progress"]["shards_done"] > killed * 5 and killed < 2:
            for child in compute_children(stack):
                with suppress(psutil.NoSuchProcess):
                    child.send_signal(signal.SIGKILL)
                    killed += 1
        time.sleep(0.02)
    job.wait()
    assert killed >= 1
    assert [s["sha256"] for s in job.manifest()["shards"]] == [s["sha256"] for s in undisturbed.manifest()["shards"]]
    assert rows_digest(job.download(tmp_path / "killed")) == rows_digest(undisturbed.download(tmp_path / "undisturbed"))


def test_children_are_spawned_and_inherit_no_lock(stack: Stack) -> None:
    """A child forked from a parent with threads waits for ever for a lock that one of them held."""
    for worker in ("compute", "prompt"):
        parent = psutil.Process(stack.children[worker].process_id)
        commands = [command_line(child) for child in parent.children()]
        assert parent.cmdline() not in commands, "a forked child has its parent's command line"
        assert any("spawn_main" in " ".join(command) for command in commands), commands
