"""The sandbox as a worker uses it: a request in, what was found or an error out, whatever the upload does."""

import json
import logging
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from latentmill.errors import Unavailable
from workers.sandbox.bounds import Levels
from workers.sandbox.endings import ended_silently, refusal_of, talked_too_much, too_slow, unintelligible
from workers.sandbox.process import Ended, OutOfTime, SandboxProcess, TooTalkative
from workers.sandbox.requests import (
    ANSWER,
    InspectedBundle,
    InspectRequest,
    ReadDataset,
    ReadRequest,
    Refused,
    Request,
)

log = logging.getLogger("latentmill.workers")

START_SECONDS = 120.0  # torch, from a cold disk
FIRST_WORD_SECONDS = 10.0


class Sandbox:
    """Parses uploads, each in a process that was started for it alone; with `spare` before it is needed."""

    def __init__(self, cache_dir: Path, *, spare: bool) -> None:
        self._cache_dir = cache_dir
        self._keeps_spare = spare
        self._spare: SandboxProcess | None = None
        self._levels: Levels | None = None

    def prepare(self) -> None:
        """Start the process for the next upload, where one is to be kept."""
        if self._keeps_spare and (self._spare is None or not self._spare.is_alive()):
            self._drop_spare()
            with suppress(Unavailable):  # logged; the next upload tries again, and says so
                self._spare = self._started()

    def close(self) -> None:
        """End the process that waits."""
        self._keeps_spare = False
        self._drop_spare()

    def inspect(self, request: InspectRequest, *, check: Callable[[], None]) -> InspectedBundle:
        """What the bundle is. `check` is called many times a second and may raise: the process then ends with it."""
        answer = self._answer(request, check)
        if not isinstance(answer, InspectedBundle):
            raise unintelligible(request)
        return answer

    def read(self, request: ReadRequest, *, check: Callable[[], None]) -> ReadDataset:
        """What the dataset is; its rows and labels lie in the request's folder."""
        answer = self._answer(request, check)
        if not isinstance(answer, ReadDataset):
            raise unintelligible(request)
        _check_files(request, answer)
        return answer

    def _answer(self, request: Request, check: Callable[[], None]) -> object:
        process = self._take()
        try:
            process.send(request.model_dump_json().encode())
            self._await_ready(process, check)
            line = self._listen(process, request, check)
        finally:
            process.end()
            self.prepare()
        try:
            answer = ANSWER.validate_json(line)
        except ValidationError as error:
            raise unintelligible(request) from error
        if isinstance(answer, Refused):
            raise refusal_of(request, answer.problem)
        return answer

    def _listen(self, process: SandboxProcess, request: Request, check: Callable[[], None]) -> bytes:
        try:
            return process.next_line(request.bounds.seconds, check=check)
        except OutOfTime:
            raise too_slow(request) from None
        except TooTalkative:
            raise talked_too_much(request) from None
        except Ended as ended:
            log.warning("parsing %s: status %d: %s", request.path, ended.status, process.last_words)
            raise ended_silently(request, ended.status, process.last_words) from None

    def _await_ready(self, process: SandboxProcess, check: Callable[[], None]) -> None:
        try:
            process.next_line(START_SECONDS, check=check)
        except (Ended, OutOfTime) as fault:
            raise _not_started(process, fault) from None

    def _take(self) -> SandboxProcess:
        spare, self._spare = self._spare, None
        if spare is not None:
            if spare.is_alive():
                return spare
            spare.end()
        return self._started()

    def _started(self) -> SandboxProcess:
        process = SandboxProcess(self._cache_dir)
        try:
            levels = Levels(**json.loads(process.next_line(FIRST_WORD_SECONDS)))
        except (Ended, OutOfTime) as fault:
            process.end()
            raise _not_started(process, fault) from None
        except BaseException:
            process.end()
            raise
        if levels != self._levels:
            self._levels = levels
            log.info("uploads are parsed in a process of their own (%s)", levels)
        return process

    def _drop_spare(self) -> None:
        if self._spare is not None:
            self._spare.end()
            self._spare = None


def _not_started(process: SandboxProcess, fault: Exception) -> Unavailable:
    log.error("the process that parses uploads did not start (%s): %s", fault, process.last_words)
    why = str(fault) or "too slow"
    return Unavailable(f"The process that parses uploads did not start ({why}); the worker's log says more.")


def _check_files(request: ReadRequest, answer: ReadDataset) -> None:
    """The files are there, are files, and hold what was said."""
    stack = (2,) if answer.stacked else ()
    expected = [(request.rows_path, (answer.rows, *stack, *answer.row_shape), np.dtype(answer.dtype))]
    if answer.labels is not None:
        expected.append((request.classes_path, (answer.rows,), np.dtype(np.int32)))
    for path, shape, dtype in expected:
        try:
            if not stat.S_ISREG(os.lstat(path).st_mode):
                raise unintelligible(request)
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise unintelligible(request) from error
        if array.shape != shape or array.dtype != dtype:
            raise unintelligible(request)
