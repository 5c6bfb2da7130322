"""The process that parses uploads, as seen from the worker: asked, listened to, and ended.

It loads its libraries once and forks for each upload; the fork alone opens it, confined, and ends with it. Each upload
has pipes of its own, so that no upload can answer for another.
"""

import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

COMMAND = (sys.executable, "-I", "-X", "utf8", "-m", "workers.sandbox")
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "OMP_WAIT_POLICY": "PASSIVE",
    # Threads that are there before a process is confined are not confined: these libraries would start some at once.
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "ORT_DISABLE_TELEMETRY": "1",  # it would write to a cache folder, and has a thread of its own
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others reserve much more than they use, and that counts
}
ANSWER_BYTES = 64 * 2**20
WORDS_BYTES = 8192
REQUEST_BYTES = 2**20
PIECE_BYTES = 2**16
POLL_SECONDS = 0.05


class Ended(Exception):
    """The process is gone, with all that it was doing."""


class OutOfTime(Exception):
    """The deadline passed."""


class TooTalkative(Exception):
    """More than any answer."""


class Heard:
    """What comes out of one pipe or socket: all of it up to a bound, or only the end."""

    def __init__(self, source: IO[bytes] | socket.socket, *, bound: int, keeps_end: bool = False) -> None:
        self.source = source
        self.text = bytearray()
        self.is_over = False
        self._bound, self._keeps_end = bound, keeps_end
        os.set_blocking(source.fileno(), False)

    def hear(self) -> bool:
        """Take the next piece; False where there is none now."""
        try:
            piece = os.read(self.source.fileno(), PIECE_BYTES)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            piece = b""
        self.is_over = not piece
        self.text += piece
        if self._keeps_end:
            del self.text[: -self._bound]
        elif len(self.text) > self._bound:
            raise TooTalkative
        return bool(piece)

    def line(self) -> bytes | None:
        """The next whole line, once."""
        end = self.text.find(b"\n")
        if end < 0:
            return None
        line = bytes(self.text[:end])
        del self.text[: end + 1]
        return line


class SandboxProcess:
    """Started at once, in a session of its own; its environment is what stands here, and nothing of ours."""

    def __init__(self, cache_dir: Path, *, preload: bool) -> None:
        with ExitStack() as opened:
            self._control, theirs = socket.socketpair()
            opened.enter_context(self._control)
            self._control.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, REQUEST_BYTES)
            with theirs:
                self._process = _started(theirs, cache_dir, preload=preload)
            assert self._process.stderr is not None
            opened.enter_context(self._process.stderr)
            self._said = Heard(self._control, bound=ANSWER_BYTES)
            self._words = Heard(self._process.stderr, bound=WORDS_BYTES, keeps_end=True)
            self._open = opened.pop_all()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The end of what it wrote to standard error."""
        while self._words.hear():
            pass
        return self._words.text.decode("utf-8", "replace").strip()

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def next_line(self, seconds: float, *, check: Callable[[], None] = lambda: None) -> bytes:
        """The next line that it says itself. `check` is called meanwhile and may raise. Raises Ended, OutOfTime."""
        return self._listen([self._said, self._words], seconds, check)

    def ask(self, request: bytes) -> "Question":
        """Have an upload parsed. To be listened to at once: there is one at a time."""
        question = Question(self)
        try:
            self._control.settimeout(5)  # there is room for it, so this is at once
            socket.send_fds(self._control, [request[:1]], question.ends)
            self._control.sendall(request[1:] + b"\n")
        except OSError as error:
            question.close()
            raise Ended(str(error)) from error
        finally:
            question.close_ends()
            self._control.setblocking(False)
        return question

    def end(self) -> None:
        """Kill it and its fork, whatever they do, and let go of the pipes."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        self._open.close()

    def listen(self, to: list[Heard], seconds: float, check: Callable[[], None]) -> bytes:
        """The next line that it says itself; meanwhile what comes from elsewhere is taken in."""
        return self._listen([self._said, self._words, *to], seconds, check)

    def _listen(self, to: list[Heard], seconds: float, check: Callable[[], None]) -> bytes:
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            for heard in to:
                if not heard.is_over:
                    selector.register(heard.source, selectors.EVENT_READ, heard)
            while (line := self._said.line()) is None:
                check()
                if self._said.is_over:
                    raise Ended(f"status {self._process.wait()}")
                if time.monotonic() > deadline:
                    raise OutOfTime
                for key, _ in selector.select(POLL_SECONDS):
                    if not key.data.hear() and key.data.is_over:
                        selector.unregister(key.fileobj)
        return line


def _started(control: socket.socket, cache_dir: Path, *, preload: bool) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, *(["--preload"] if preload else [])],
        stdin=control.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd="/",
        env={**ENVIRONMENT, "TORCHINDUCTOR_CACHE_DIR": str(cache_dir)},  # torch's compiler insists on a folder
        start_new_session=True,
    )


class Question:
    """One upload that is being parsed, and the pipes through which its fork speaks."""

    def __init__(self, process: SandboxProcess) -> None:
        self._process = process
        self._open = ExitStack()
        heard = []
        self.ends: list[int] = []
        for bound, keeps_end in ((ANSWER_BYTES, False), (WORDS_BYTES, True)):
            read, write = os.pipe()
            self.ends.append(write)
            source = self._open.enter_context(os.fdopen(read, "rb", buffering=0))
            heard.append(Heard(source, bound=bound, keeps_end=keeps_end))
        self._answer, self._words = heard

    def next_line(self, seconds: float, check: Callable[[], None]) -> bytes:
        """As that of the process."""
        return self._process.listen([self._answer, self._words], seconds, check)

    def answer(self) -> bytes:
        """All that was answered, once its fork has ended."""
        while self._answer.hear():
            pass
        return bytes(self._answer.text)

    def wait_over(self, seconds: float) -> None:
        """Wait until the fork, which was killed, is gone: then nobody has the other end of its pipe."""
        deadline = time.monotonic() + seconds
        with suppress(TooTalkative):
            while not self._answer.is_over and time.monotonic() < deadline:
                select.select([self._answer.source], [], [], POLL_SECONDS)
                self._answer.hear()

    @property
    def last_words(self) -> str:
        """The end of what the fork wrote to standard error, with what its libraries print."""
        while self._words.hear():
            pass
        return self._words.text.decode("utf-8", "replace").strip()

    def close_ends(self) -> None:
        """The ends that the fork writes to, which have been sent."""
        while self.ends:
            os.close(self.ends.pop())

    def close(self) -> None:
        self.close_ends()
        self._open.close()
