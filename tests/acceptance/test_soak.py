"""Faults over seeds, for SOAK_SECONDS: whatever is killed and whenever, the dataset is the same bytes."""

import os
import random
import signal
import time
from collections.abc import Iterator

import psutil
import pytest

from latentmill import Client
from latentmill.resources.jobs import Job
from latentmill.stack import Stack
from tests.acceptance.conftest import DEMO_BUNDLE, SHORT

SHARDS, SHARD_ROWS = 40, 1_000
VICTIMS = ("compute", "compute child", "prompt", "api", "beat", "broker")
PAUSE_SECONDS = (0.2, 2.0)  # between two kills

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]


@pytest.fixture
def sturdy_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack in which a work item may be lost often: the faults here hit the same one again and again."""
    environment = {**SHORT, "LATENTMILL_WORK__LOST_ATTEMPTS": "100"}
    with Stack(data_dir=tmp_path_factory.mktemp("soak"), port=0, environment=environment) as running:
        yield running


def kill(stack: Stack, victim: str) -> bool:
    """SIGKILL a process of the stack; False when it is not there at the moment."""
    process_id = stack.pids.get(victim.partition(" ")[0])
    if process_id is None:
        return False
    try:
        process = psutil.Process(process_id)
        spawned = [child for child in process.children() if "spawn_main" in " ".join(child.cmdline())]
        for target in spawned if victim.endswith("child") else [process]:
            target.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    return True


def disturbed(job: Job, stack: Stack, chance: random.Random) -> dict[str, int]:
    """Kill something every now and then until the job has ended; what was killed, and how often."""
    kills = dict.fromkeys(VICTIMS, 0)
    deadline = time.monotonic() + 300
    while not job.refresh().ended:
        assert time.monotonic() < deadline, f"{job.id} does not end: {job.data}"
        time.sleep(chance.uniform(*PAUSE_SECONDS))
        victim = chance.choice(VICTIMS)
        kills[victim] += kill(stack, victim)
    return kills


def test_whatever_is_killed_the_bytes_are_the_same(sturdy_stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    client = Client(url=sturdy_stack.url, api_key=sturdy_stack.api_key)
    model = client.models.add(DEMO_BUNDLE).wait()
    body = {"strategy": {"kind": "prior"}, "rows": SHARDS * SHARD_ROWS, "shard_rows": SHARD_ROWS, "seed": 5}
    expected = [shard["sha256"] for shard in client.jobs.create(model, **body).wait().manifest()["shards"]]
    totals = dict.fromkeys(VICTIMS, 0)
    deadline, runs = time.monotonic() + float(os.environ.get("SOAK_SECONDS", "600")), 0
    while time.monotonic() < deadline:
        job = client.jobs.create(model, **body, metadata={"run": str(runs)})
        kills = disturbed(job, sturdy_stack, random.Random(runs))
        assert job.state == "succeeded", job.data
        assert [shard["sha256"] for shard in job.manifest()["shards"]] == expected, f"run {runs}, killed: {kills}"
        totals = {victim: totals[victim] + kills[victim] for victim in VICTIMS}
        runs += 1
    with capsys.disabled():
        print(f"\n{runs} jobs of {SHARDS} shards, killed: {totals}")
    assert runs > 0
