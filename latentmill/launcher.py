"""Runs one command so that nothing of it outlives whoever asked for it. A script of its own; standard library alone.

    python -I -S launcher.py LIFELINE_FD GRACE_SECONDS FOLDER COMMAND ...

LIFELINE_FD is the reading end of a pipe: when the other end closes, because the owner closed it or is dead, SIGKILL
included, the command gets SIGTERM, and after GRACE_SECONDS everything that descends from it SIGKILL; then FOLDER (""
for none) is removed. When the command ends by itself, what it left behind is killed too. Exit status: the command's.
"""

import ctypes
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LINUX = sys.platform == "linux"


def main(arguments: list[str]) -> int:
    """Run the command to its end, or to the owner's."""
    lifeline, grace_seconds, folder, command = int(arguments[0]), float(arguments[1]), arguments[2], arguments[3:]
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal's Ctrl-C is for the owner; the lifeline tells the rest
    os.set_inheritable(lifeline, False)
    wakeup = _wake_on(signal.SIGCHLD, signal.SIGTERM)
    process_control(PR_SET_CHILD_SUBREAPER, 1)  # orphans come here instead of to init
    child = _start(command)
    status = _watch(child, lifeline, wakeup, grace_seconds)
    kill_descendants(child)
    if folder and _closed(lifeline):
        shutil.rmtree(folder, ignore_errors=True)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def process_control(option: int, value: int) -> None:
    """prctl(2); nothing where the system has none."""
    if LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def children_of(pid: int) -> list[int]:
    """The direct children of a process of this machine; none where the system does not tell."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found += map(int, file.read().split())
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        return found
    return found


def kill_descendants(group: int) -> None:
    """SIGKILL whatever still runs below this process, and reap it."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        _kill_all(group)
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.01)
        except ChildProcessError:
            return


def _start(command: list[str]) -> int:
    launcher = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        os.setpgid(0, 0)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        process_control(PR_SET_PDEATHSIG, signal.SIGKILL)  # where the launcher itself is killed
        if os.getppid() != launcher:
            os._exit(1)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def _watch(child: int, lifeline: int, wakeup: int, grace_seconds: float) -> int:
    """The command's wait status. Reaps every orphan that comes here meanwhile."""
    watched = [lifeline, wakeup]
    deadline: float | None = None
    while True:
        timeout = None if deadline is None else max(0.05, deadline - time.monotonic())
        ready = select.select(watched, [], [], timeout)[0]
        terminated = wakeup in ready and bytes([signal.SIGTERM]) in os.read(wakeup, 4096)
        for pid, status in _ended():
            if pid == child:
                return status
        if deadline is None and (terminated or lifeline in ready):
            watched.remove(lifeline)
            deadline = time.monotonic() + grace_seconds
            _signal(child, signal.SIGTERM)
        elif deadline is not None and time.monotonic() >= deadline:
            _kill_all(child)


def _wake_on(*signals: int) -> int:
    """A pipe that becomes readable, with the signal's number, when one arrives."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    for number in signals:
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    return reading


def _ended() -> Iterator[tuple[int, int]]:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status


def _descendants(pid: int) -> Iterator[int]:
    for child in children_of(pid):
        yield from _descendants(child)
        yield child


def _closed(lifeline: int) -> bool:
    return bool(select.select([lifeline], [], [], 0)[0])


def _kill_all(group: int) -> None:
    if LINUX:
        for pid in _descendants(os.getpid()):
            _signal(pid, signal.SIGKILL)
        return
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # gone; macOS says the latter of a group of zombies
        return


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
