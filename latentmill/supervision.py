"""Child processes of `latentmill up`: started through the launcher, watched, started again, ended together."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from latentmill import launcher
from latentmill.errors import StartFailed

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
SETTLED_SECONDS = 30.0  # after this long a child counts as well, and its next death as the first
POLL_SECONDS = 0.1
GRACE_SECONDS = 4.0  # from SIGTERM to SIGKILL
LOG_TAIL_LINES = 15


class Child:
    """One command that shall run for as long as this process does, however this process ends."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = dict(environment)
        self._folder = folder  # removed when this process has ended
        self._launcher: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self._started = 0.0
        self.deaths = 0  # in a row

    def start(self) -> None:
        """Start the command; its output is appended to the log."""
        reading, writing = os.pipe()
        try:
            grace, folder = str(GRACE_SECONDS), str(self._folder or "")
            with self.log.open("ab") as output:
                self._launcher = subprocess.Popen(
                    [sys.executable, "-I", "-S", launcher.__file__, str(reading), grace, folder, *self._command],
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=[reading],
                    start_new_session=True,  # a Ctrl-C in the terminal reaches this process alone
                )
        except OSError as error:
            os.close(writing)
            raise StartFailed(f"{self.name} cannot be started: {error}") from error
        finally:
            os.close(reading)
        self._lifeline = writing
        self._started = time.monotonic()

    @property
    def exit_code(self) -> int | None:
        """How the command ended; None while it runs."""
        return self._launcher.poll() if self._launcher is not None else None

    @property
    def process_id(self) -> int | None:
        """The command's own process id; None where the system does not tell."""
        return next(iter(launcher.children_of(self._launcher.pid)), None) if self._launcher is not None else None

    @property
    def launcher_id(self) -> int | None:
        return self._launcher.pid if self._launcher is not None else None

    def count_death(self) -> float:
        """Note that it died; how long to pause before starting it again."""
        self.close()
        settled = time.monotonic() - self._started > SETTLED_SECONDS
        self.deaths = 1 if settled else self.deaths + 1
        return float(min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (self.deaths - 1)))

    def close(self) -> None:
        """Let go of the lifeline: the launcher then ends the command and all that it started."""
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    def wait_ended(self) -> None:
        """Wait until nothing of it is left; a launcher that hangs is killed."""
        if self._launcher is None:
            return
        try:
            self._launcher.wait(GRACE_SECONDS + 8)
        except subprocess.TimeoutExpired:
            self._launcher.kill()
            self._launcher.wait()

    def log_tail(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_text("utf-8", "replace").splitlines() if self.log.is_file() else []
        return "\n".join(lines[-LOG_TAIL_LINES:])


class Supervisor:
    """Keeps children running: one that dies is started again after a pause that doubles, and one line says so."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._children: list[Child] = []
        self._due: dict[str, float] = {}
        self._adopts = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, child: Child) -> None:
        """Start `child` and keep it running from now on."""
        child.start()
        self._children.append(child)
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
            self._thread.start()

    @property
    def children(self) -> list[Child]:
        return list(self._children)

    def adopt_orphans(self) -> None:
        """End and reap what a killed launcher leaves. Only where this process has no other children of its own."""
        launcher.process_control(launcher.PR_SET_CHILD_SUBREAPER, 1)
        self._adopts = True

    def stop(self) -> None:
        """End all children; the first one, the broker, last: the others use it while they stop."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        for group in (self._children[1:], self._children[:1]):
            for child in group:
                child.close()
            for child in group:
                child.wait_ended()

    def _watch(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            for child in self.children:
                self._look_after(child)
            if self._adopts:
                self._end_orphans()

    def _look_after(self, child: Child) -> None:
        due = self._due.get(child.name)
        if due is not None:
            if time.monotonic() >= due:
                del self._due[child.name]
                self._restart(child)
        elif (code := child.exit_code) is not None:
            pause = child.count_death()
            self._due[child.name] = time.monotonic() + pause
            self._say(f"{child.name} ended ({_described(code)}); starting it again in {pause:g} s; log: {child.log}")

    def _restart(self, child: Child) -> None:
        try:
            child.start()
        except StartFailed as error:  # out of processes or memory for the moment: as if it had died at once
            pause = child.count_death()
            self._due[child.name] = time.monotonic() + pause
            self._say(f"{error.detail}; trying again in {pause:g} s")

    def _end_orphans(self) -> None:
        for pid in set(launcher.children_of(os.getpid())) - {child.launcher_id for child in self.children}:
            with suppress(ProcessLookupError, ChildProcessError):  # ended and reaped meanwhile
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)


def _described(code: int) -> str:
    return f"killed by signal {code - 128}" if code > 128 else f"exit code {code}"
