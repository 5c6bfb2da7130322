"""The processes of a stack, and ending, stopping or doubling them."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from latentmill.launcher import children_of
from tests.faults.mill import Mill, until

ALL = ("broker", "api", "prompt", "compute", "beat")


def process(mill: Mill, name: str) -> psutil.Process:
    """The child of the stack with this name, once it runs."""
    return psutil.Process(until(lambda: mill.stack.pids.get(name, 0), f"{name} runs"))


def kill(mill: Mill, *names: str) -> None:
    """SIGKILL these children of the stack, all of them before any is seen to have ended."""
    for one in [process(mill, name) for name in names]:
        with suppress(psutil.NoSuchProcess):
            one.kill()


def spawned(mill: Mill, worker: str) -> list[int]:
    """The processes in which a worker does its items; beside them it keeps a tracker of semaphores."""
    found = children_of(process(mill, worker).pid)
    return [pid for pid in found if "spawn_main" in _command_line(pid)]


@contextmanager
def kept_down(mill: Mill, name: str) -> Iterator[None]:
    """SIGKILL a child of the stack, which is started again only after the block."""
    launcher = until(lambda: _stopped_launcher(mill, name), f"{name} runs")
    try:
        process(mill, name).kill()
        yield
    finally:
        os.kill(launcher, signal.SIGCONT)


@contextmanager
def stopped(mill: Mill, name: str) -> Iterator[None]:
    """SIGSTOP a child of the stack for as long as the block runs: it hangs, its sockets stay open."""
    one = process(mill, name)
    one.suspend()
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess):
            one.resume()


@contextmanager
def doubled(mill: Mill, name: str, times: int) -> Iterator[None]:
    """More processes of the same command and settings, for as long as the block runs."""
    original = process(mill, name)
    command, environment = original.cmdline(), original.environ()
    doubles = [
        subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(times)
    ]
    try:
        yield
    finally:
        for one in doubles:
            assert one.poll() is None, f"{command} ended by itself: {one.returncode}"
            one.terminate()
        for one in doubles:
            one.wait(20)


def wipe_broker(mill: Mill) -> None:
    """Everything that the broker wrote to the disk is gone."""
    for path in (mill.stack.data_dir / "broker").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _stopped_launcher(mill: Mill, name: str) -> int:
    """The launcher of a child that runs, stopped: it does not see that its command has ended, nor does the stack."""
    launcher = mill.stack.children[name].launcher_id
    with suppress(ProcessLookupError):  # it ends just now, for its command was killed a moment ago
        if launcher is not None:
            os.kill(launcher, signal.SIGSTOP)
            if any(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in children_of(launcher)):
                return launcher
            os.kill(launcher, signal.SIGCONT)
    return 0


def _command_line(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:  # killed a moment ago
        return ""
