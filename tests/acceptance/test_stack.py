"""`latentmill up` as a process: ready, told apart from a second one, mended, killed, started again, ended."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from latentmill import Client
from latentmill.errors import AlreadyRunning, Unreachable
from latentmill.stack import Stack

COMMAND = [sys.executable, "-c", "from latentmill.cli import main; main()"]
READY = re.compile(r"Latentmill is ready: (http://127\.0\.0\.1:\d+)  key: (\S+)")


class Up:
    """A running `latentmill up` and the lines that it printed."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.lines: list[str] = []
        arguments = ["up", "--data-dir", str(data_dir), "--port", "0", "--workers", "1"]
        self.process = subprocess.Popen(
            [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            self.lines.extend(lines)

    def wait_line(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """The first line that matches, also one that is still to come."""
        wait_until(lambda: any(map(pattern.search, self.lines)) or self.process.poll() is not None, 60)
        found = next(filter(None, map(pattern.search, self.lines)), None)
        assert found is not None, "".join(self.lines)
        return found

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, words: str) -> psutil.Process:
        """The child whose command line ends with `words`."""
        for one in self.family():
            with suppress(psutil.NoSuchProcess):  # it may end while we look
                command = one.cmdline()
                if " ".join(command).endswith(words) and command[1] == "-P":
                    return one
        raise AssertionError(f"no child ends with {words}")

    def end(self, number: int) -> int:
        """Send a signal; the exit status."""
        self.process.send_signal(number)
        status = self.process.wait(15)
        self._reader.join()
        return status


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def assert_all_gone(family: list[psutil.Process]) -> None:
    """Nothing of `family` runs; what has no parent any more may be a zombie until the system's init reaps it."""
    wait_until(lambda: not any(map(runs, family)), 10)


def runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("up")


@pytest.fixture
def up(data_dir: Path) -> Iterator[Up]:
    running = Up(data_dir)
    yield running
    if running.process.poll() is None:
        running.end(signal.SIGTERM)


def test_up_is_ready_mends_itself_and_leaves_nothing_when_killed(up: Up, data_dir: Path) -> None:
    url, key = up.wait_line(READY).groups()
    endpoint = data_dir / "endpoint.json"
    assert json.loads(endpoint.read_text()) == {"url": url, "api_key": key}
    assert endpoint.stat().st_mode & 0o777 == 0o600
    with Client(data_dir=data_dir) as client:
        assert client.url == url
        assert client.models.list() == []

    second = subprocess.run([*COMMAND, "up", "--data-dir", str(data_dir)], capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert f"already running on {data_dir}: process {up.process.pid}, {url}" in second.stderr

    beat = up.child("service beat")
    beat.kill()
    up.wait_line(re.compile(r"^beat ended \(killed by signal 9\); starting it again in 0\.2 s; log: .*beat\.log$"))
    wait_until(lambda: any(one.cmdline()[-2:] == ["service", "beat"] for one in up.family()), 10)
    api = up.child(f"--port {url.rpartition(':')[2]}")
    api.kill()
    with Client(data_dir=data_dir) as client:
        wait_until(lambda: not runs(api), 5)
        wait_until(lambda: answers(client), 30)

    family = up.family()
    assert len(family) >= 10
    assert up.end(signal.SIGKILL) == -signal.SIGKILL
    assert_all_gone(family)


def answers(client: Client) -> bool:
    try:
        return client.models.list() == []
    except Unreachable:
        return False


def test_up_starts_again_after_a_kill_and_ends_when_asked(up: Up, data_dir: Path) -> None:
    left = json.loads((data_dir / "endpoint.json").read_text())
    _, key = up.wait_line(READY).groups()
    assert key == left["api_key"]
    family = up.family()
    sockets = [word for one in family for word in one.cmdline() if word.endswith("broker.sock")]
    assert sockets
    began = time.monotonic()
    assert up.end(signal.SIGTERM) == 0
    assert time.monotonic() - began < 12
    assert up.lines[-1] == "Latentmill has ended.\n"
    assert_all_gone(family)
    assert not (data_dir / "endpoint.json").exists()
    assert not any(os.path.exists(os.path.dirname(path)) for path in sockets)


def test_a_stack_holds_its_directory(stack: Stack) -> None:
    assert set(stack.pids) == {"broker", "api", "prompt", "compute", "beat"}
    with pytest.raises(AlreadyRunning, match=re.escape(stack.url)):
        with Stack(data_dir=stack.data_dir, port=0):
            pass
    with Client(data_dir=stack.data_dir) as client:
        assert client.url == stack.url
