"""The sandbox as a worker uses it: a request in, what was found or an error out, whatever the upload does."""

import json
import logging
import os
import signal
import stat
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from latentmill.errors import Unavailable
from workers.sandbox.bounds import Levels
from workers.sandbox.endings import Exit, ended_silently, refusal_of, talked_too_much, too_slow, unintelligible
from workers.sandbox.process import Ended, OutOfTime, Question, SandboxProcess, TooTalkative
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
FIRST_WORD_SECONDS = 30.0
ENDING_SECONDS = 5.0


class Sandbox:
    """Parses uploads: one process that is started when it is first needed, or with `preload` before."""

    def __init__(self, cache_dir: Path, *, preload: bool) -> None:
        self._cache_dir = cache_dir
        self._preload = preload
        self._process: SandboxProcess | None = None
        self._levels: Levels | None = None

    def prepare(self) -> None:
        """Have the process loaded before it is needed, where that is wanted."""
        if self._preload:
            with suppress(Unavailable):  # logged; the next upload tries again, and says so
                self._running()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.end()
            self._process = None

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
        process = self._running()
        try:
            question = process.ask(request.model_dump_json().encode())
        except Ended as fault:
            raise _not_started(fault, process.last_words) from None
        with closing(question):
            try:
                line = _listened(process, question, request, check)
            except BaseException:
                # Too late, too much, stopped or gone: nothing of it may go on, and the next upload has a new process.
                self.close()
                question.wait_over(ENDING_SECONDS)
                self.prepare()
                raise
        try:
            answer = ANSWER.validate_json(line)
        except ValidationError as error:
            raise unintelligible(request) from error
        if isinstance(answer, Refused):
            raise refusal_of(request, answer.problem)
        return answer

    def _running(self) -> SandboxProcess:
        if self._process is not None and self._process.is_alive():
            return self._process
        self.close()
        try:
            process = SandboxProcess(self._cache_dir, preload=self._preload)
        except OSError as fault:  # no more processes, no more files
            raise _not_started(fault) from None
        try:
            levels = Levels(**json.loads(process.next_line(FIRST_WORD_SECONDS)))
        except (Ended, OutOfTime) as fault:
            words = process.last_words
            process.end()
            raise _not_started(fault, words) from None
        except BaseException:
            process.end()
            raise
        if levels != self._levels:
            self._levels = levels
            log.info("uploads are parsed in a process of their own (%s)", levels)
        self._process = process
        return process


def _listened(process: SandboxProcess, question: Question, request: Request, check: Callable[[], None]) -> bytes:
    """The answer, once its fork has ended as it should."""
    try:
        question.next_line(START_SECONDS, check)
    except (Ended, OutOfTime) as fault:
        raise _not_started(fault, process.last_words) from None
    try:
        status = int(json.loads(question.next_line(request.bounds.seconds, check))["status"])
    except OutOfTime:
        raise too_slow(request) from None
    except TooTalkative:
        raise talked_too_much(request) from None
    except Ended:
        status = -signal.SIGKILL  # with its parent, which nobody of ours ended
    if words := question.last_words:
        log.warning("parsing %s: status %d: %s", request.path, status, words)
    if status != Exit.ANSWERED:
        raise ended_silently(request, status, words)
    return question.answer()


def _not_started(fault: Exception, words: str = "") -> Unavailable:
    log.error("the process that parses uploads did not start (%s): %s", fault, words)
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
