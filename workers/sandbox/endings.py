"""Ways in which a process that parses an upload ends without an answer, in the words of the error tree."""

import signal
from enum import IntEnum

from latentmill.errors import (
    FieldError,
    InvalidBundle,
    InvalidDataset,
    InvalidRequest,
    LatentmillError,
    NotYet,
    OutOfMemory,
    Problem,
    StorageFault,
    StorageFull,
)
from workers.sandbox.requests import InspectRequest, Request

MEMORY_SETTING = "LATENTMILL_SANDBOX__MEMORY_BYTES"
FILE_SETTING = "LATENTMILL_LIMITS__DECOMPRESSED_BYTES"
MAX_DETAIL_LENGTH, MAX_ERRORS = 2000, 20
REFUSALS = (InvalidRequest, NotYet, StorageFull, StorageFault)
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSYS)


class Exit(IntEnum):
    """Exit statuses that a process can leave with when it has no memory or no words left."""

    ANSWERED = 0
    MEMORY = 70
    FILE = 71


def refusal_of(request: Request, problem: Problem) -> LatentmillError:
    """The error that the process answered with, as far as it may be one, and short enough to be kept."""
    error = LatentmillError.from_problem(problem)
    kind = type(error) if isinstance(error, REFUSALS) else _refusal(request)
    errors = [
        FieldError(pointer=_shortened(each.pointer), message=_shortened(each.message))
        for each in error.errors[:MAX_ERRORS]
    ]
    return kind(_shortened(error.detail), errors=errors)


def too_slow(request: Request) -> LatentmillError:
    """The clock ran out."""
    bounds = request.bounds
    return _refusal(request)(
        f"{_doing(request)} took more than {bounds.seconds:g} s, the limit ({bounds.seconds_setting})."
    )


def ended_silently(request: Request, status: int, last_words: str) -> LatentmillError:
    """The process ended with `status` (as subprocess counts: -9 for SIGKILL) and left no answer."""
    bounds, doing, refusal = request.bounds, _doing(request), _refusal(request)
    if status == Exit.MEMORY or "bad_alloc" in last_words:
        return refusal(f"{doing} needs more than {_said(bounds.memory_bytes)} of memory, the limit ({MEMORY_SETTING}).")
    if status == Exit.FILE:
        return refusal(f"{doing} writes more than {_said(bounds.file_bytes)}, the limit ({FILE_SETTING}).")
    if status == -signal.SIGXCPU:
        return refusal(
            f"{doing} took more than {bounds.cpu_seconds:,} s of processor time, the limit for {bounds.threads} "
            f"thread{'s' if bounds.threads != 1 else ''} ({bounds.seconds_setting})."
        )
    if status == -signal.SIGKILL:
        # Not by us: by the machine, whose memory ended before the limit. Another attempt may find more of it.
        return OutOfMemory(
            f"{doing} was ended from outside, as happens where the machine has no memory left: set {MEMORY_SETTING} "
            "below what it has."
        )
    if -status in CRASHES:
        return refusal(f"{doing} crashed the process that parses it ({signal.Signals(-status).name}).")
    return refusal(f"{doing} ended the process that parses it (status {status}) without an answer.")


def unexpected(request: Request, error: BaseException) -> LatentmillError:
    """An exception that no reader should let out: a defect of ours, or a file that nobody thought of."""
    return _refusal(request)(f"{_doing(request)} failed: {type(error).__name__}: {str(error)[:300]}")


def talked_too_much(request: Request) -> LatentmillError:
    """The answer has no end."""
    return _refusal(request)(f"{_doing(request)} gives more to say of it than there is room for: is it what it seems?")


def unintelligible(request: Request) -> LatentmillError:
    """The answer is none: whatever is in the upload may have written it."""
    return _refusal(request)(f"{_doing(request)} gave no answer that can be believed.")


def _refusal(request: Request) -> type[LatentmillError]:
    return InvalidBundle if isinstance(request, InspectRequest) else InvalidDataset


def _doing(request: Request) -> str:
    return "Opening this bundle" if isinstance(request, InspectRequest) else "Reading this file"


def _said(size_bytes: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if size_bytes >= size:
            return f"{size_bytes / size:,.4g} {unit}"
    return f"{size_bytes:,} bytes"


def _shortened(text: str) -> str:
    """Text of a stranger's making that a database takes."""
    text = text.replace("\0", "\ufffd")
    return text if len(text) <= MAX_DETAIL_LENGTH else f"{text[:MAX_DETAIL_LENGTH]}..."
