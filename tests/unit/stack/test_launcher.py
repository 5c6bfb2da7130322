"""Children end with their owner, whatever ended it, and take their own children along."""

import signal
import subprocess
import sys
import textwrap
import time
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from latentmill.supervision import Child, Supervisor

# A daemon in a session of its own that ignores SIGTERM, as a library below a worker might start.
STUBBORN = (
    "import os, signal, sys, time; "
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "os.fork() and os._exit(0); "
    "os.setsid(); open(sys.argv[1], 'a').write(f'{os.getpid()}\\n'); time.sleep(600)"
)
FAMILY = (
    "import subprocess, sys, time; "
    "subprocess.run([sys.executable, '-c', sys.argv[2], sys.argv[1]]); "
    "open(sys.argv[1], 'a').write('ready\\n'); time.sleep(600)"
)


def wait_for(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def lines_of(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # also when its parent reaps it while we look
        return False


@pytest.fixture
def child_of(tmp_path, monkeypatch):
    monkeypatch.setattr("latentmill.supervision.GRACE_SECONDS", 0.5)
    made = []

    def make(*command: str, name: str = "child", folder: Path | None = None) -> Child:
        made.append(Child(name, command, environment={}, log=tmp_path / f"{name}.log", folder=folder))
        return made[-1]

    yield make
    for child in made:
        child.close()
        child.wait_ended()


def test_closing_ends_a_daemon_that_ignores_everything(child_of, tmp_path) -> None:
    pids, folder = tmp_path / "pids", tmp_path / "socket"
    folder.mkdir()
    child = child_of(sys.executable, "-c", FAMILY, str(pids), STUBBORN, folder=folder)
    child.start()
    wait_for(lambda: len(lines_of(pids)) == 2)
    daemon = next(int(line) for line in lines_of(pids) if line.isdigit())
    assert runs(daemon)
    child.close()
    child.wait_ended()
    assert not runs(daemon)
    assert not folder.exists()


def test_a_child_that_dies_takes_its_daemon_along_and_leaves_the_folder(child_of, tmp_path) -> None:
    pids, folder = tmp_path / "pids", tmp_path / "socket"
    folder.mkdir()
    child = child_of(sys.executable, "-c", FAMILY, str(pids), STUBBORN, folder=folder)
    child.start()
    wait_for(lambda: len(lines_of(pids)) == 2)
    daemon = next(int(line) for line in lines_of(pids) if line.isdigit())
    psutil.Process(child.process_id).kill()
    wait_for(lambda: child.exit_code is not None)
    assert child.exit_code == 128 + signal.SIGKILL
    assert not runs(daemon)
    assert folder.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_owner_leaves_nothing(tmp_path, number) -> None:
    pids = tmp_path / "pids"
    owner = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from latentmill import supervision
        supervision.GRACE_SECONDS = 0.3
        command = [sys.executable, "-c", *sys.argv[1:]]
        supervision.Child("child", command, environment={}, log=Path(sys.argv[2] + ".log")).start()
        time.sleep(600)
        """
    )
    with subprocess.Popen([sys.executable, "-c", owner, FAMILY, str(pids), STUBBORN]) as process:
        wait_for(lambda: len(lines_of(pids)) == 2)
        family = psutil.Process(process.pid).children(recursive=True)
        family.append(psutil.Process(next(int(line) for line in lines_of(pids) if line.isdigit())))
        assert len(family) >= 3
        process.send_signal(number)
    _, alive = psutil.wait_procs(family, timeout=60)
    assert [process for process in alive if runs(process.pid)] == []


def test_a_killed_launcher_takes_its_command_along(child_of) -> None:
    child = child_of(sys.executable, "-c", "import time; time.sleep(600)")
    child.start()
    wait_for(lambda: child.process_id is not None)
    command = psutil.Process(child.process_id)
    wait_for(lambda: command.cmdline()[1:2] == ["-c"])
    psutil.Process(child.launcher_id).kill()
    wait_for(lambda: not runs(command.pid))


def test_exit_status_and_output_are_the_commands_own(child_of) -> None:
    child = child_of("/bin/sh", "-c", "echo out; echo err >&2; exit 7")
    child.start()
    wait_for(lambda: child.exit_code is not None)
    assert child.exit_code == 7
    assert child.log_tail() == "out\nerr"
    nothing = child_of("/no/such/command", name="nothing")
    nothing.start()
    wait_for(lambda: nothing.exit_code is not None)
    assert nothing.exit_code == 127
    assert "No such file" in nothing.log_tail()


def test_a_child_that_dies_is_started_again_after_longer_pauses(child_of, tmp_path) -> None:
    starts = tmp_path / "starts"
    lines: list[str] = []
    supervisor = Supervisor(lines.append)
    supervisor.add(child_of("/bin/sh", "-c", f"date +%s.%N >> {starts}; exit 3", name="beat"))
    supervisor.add(child_of("/bin/sh", "-c", "exec sleep 600", name="api"))
    try:
        wait_for(lambda: len(lines_of(starts)) >= 4)
    finally:
        supervisor.stop()
    times = [float(word) for word in lines_of(starts)]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert all(pause >= 0.2 * 2**deaths for deaths, pause in enumerate(pauses)), (
        pauses
    )  # what a busy machine adds may be more
    assert lines[0].startswith("beat ended (exit code 3); starting it again in 0.2 s; log: ")
    assert "in 0.4 s" in lines[1]
    assert not any(line.startswith("api") for line in lines)


def test_after_a_long_life_the_pause_is_short_again(child_of, monkeypatch) -> None:
    child = child_of("/bin/sh", "-c", "exit 1")
    monkeypatch.setattr("latentmill.supervision.SETTLED_SECONDS", float("inf"))
    assert [child.count_death() for _ in range(8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    monkeypatch.setattr("latentmill.supervision.SETTLED_SECONDS", -1.0)
    assert child.count_death() == 0.2
