"""One process that parses one upload, as seen from the worker: asked, listened to, and ended."""

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

COMMAND = (sys.executable, "-I", "-X", "utf8", "-m", "workers.sandbox")
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "OMP_WAIT_POLICY": "PASSIVE",
    # Threads that are there before a process is confined are not confined: these libraries would start some at once.
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others reserve much more than they use, and that counts
}
ANSWER_BYTES = 64 * 2**20
LAST_WORDS_BYTES = 8192
PIECE_BYTES = 2**16
POLL_SECONDS = 0.05


class Ended(Exception):
    """The process is gone. `status` as subprocess counts; negative: the signal."""

    def __init__(self, status: int) -> None:
        super().__init__(f"ended with status {status}")
        self.status = status


class OutOfTime(Exception):
    """The deadline passed."""


class TooTalkative(Exception):
    """More than any answer."""


class SandboxProcess:
    """Started at once, in a session of its own; its environment is what stands here, and nothing of ours."""

    def __init__(self, cache_dir: Path) -> None:
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env={**ENVIRONMENT, "TORCHINDUCTOR_CACHE_DIR": str(cache_dir)},  # torch's compiler insists on a folder
            start_new_session=True,
        )
        self._lines: list[bytes] = []
        self._heard = bytearray()
        self._last_words = bytearray()
        self._unsent = memoryview(b"")
        self._selector = selectors.DefaultSelector()
        for pipe, hear in ((self._process.stdout, self._hear), (self._process.stderr, self._overhear)):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, hear)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The end of what it wrote to standard error."""
        return self._last_words.decode("utf-8", "replace").strip()

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def send(self, line: bytes) -> None:
        """Have `line` sent while lines are waited for."""
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        self._unsent = memoryview(line + b"\n")
        self._selector.register(self._process.stdin, selectors.EVENT_WRITE, self._speak)

    def next_line(self, seconds: float, *, check: Callable[[], None] | None = None) -> bytes:
        """The next line that it says. `check` is called meanwhile and may raise. Raises Ended, OutOfTime."""
        deadline = time.monotonic() + seconds
        while not self._lines:
            if check is not None:
                check()
            if time.monotonic() > deadline:
                raise OutOfTime
            if not self._selector.get_map():
                raise Ended(self._process.wait())  # both ends are closed: it has ended, or is about to
            for key, _ in self._selector.select(POLL_SECONDS):
                key.data()
        return self._lines.pop(0)

    def end(self) -> None:
        """Kill what is left of it, its whole group, and let go of the pipes."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()

    def _hear(self) -> None:
        piece = self._read(self._process.stdout)
        self._heard += piece
        if len(self._heard) > ANSWER_BYTES:
            raise TooTalkative
        if b"\n" in piece:
            *lines, rest = self._heard.split(b"\n")
            self._lines += map(bytes, lines)
            self._heard = bytearray(rest)

    def _overhear(self) -> None:
        self._last_words += self._read(self._process.stderr)
        del self._last_words[:-LAST_WORDS_BYTES]

    def _speak(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        try:
            self._unsent = self._unsent[os.write(pipe.fileno(), self._unsent[:PIECE_BYTES]) :]
        except BrokenPipeError:
            self._unsent = memoryview(b"")  # how it ended is heard elsewhere
        if not self._unsent:
            self._selector.unregister(pipe)

    def _read(self, pipe: object) -> bytes:
        assert pipe is not None
        piece = os.read(pipe.fileno(), PIECE_BYTES)  # type: ignore[attr-defined]
        if not piece:
            self._selector.unregister(pipe)  # type: ignore[arg-type]
        return piece
