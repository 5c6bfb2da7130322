"""The one way in which the exporter says no: what, where in the user's source, and the way out."""

import os
import traceback
from pathlib import Path
from types import TracebackType

import torch

from latentmill.errors import InvalidBundle

_FOREIGN_FOLDERS = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))
_STANDARD_LIBRARY = str(Path(os.__file__).parent)
WAY_OUT = "Build it from the layers that the engine torch has, or bring that part into another form."

_CANNOT = " cannot be exported: "
_WITHOUT = ": "


def refusal(part: str, what: str, *, line: str | None = None, way_out: str = WAY_OUT) -> InvalidBundle:
    """The error for something that cannot be exported."""
    where = f" ({line})" if line else ""
    return InvalidBundle(f"The {part}{_CANNOT}{what}{where}. {way_out}")


def first_sentence(error: InvalidBundle) -> str:
    """What was found and where, without the way out: it stands beside what was done in its place."""
    found = error.detail.partition(". ")[0].rstrip(".")
    return f"{found.replace(_CANNOT, _WITHOUT, 1)}."


def user_line(trace: TracebackType | None) -> str | None:
    """The innermost line of a traceback that is neither torch's nor ours."""
    return user_frame(list(traceback.extract_tb(trace)))


def recorded_line(stack: str | None) -> str | None:
    """The innermost user's line of the stack that torch.fx recorded at a node, which is text."""
    frames = [line.strip() for line in (stack or "").splitlines() if line.strip().startswith("File ")]
    own = [frame for frame in frames if not any(folder in frame for folder in _FOREIGN_FOLDERS)]
    if not own:
        return None
    path, line, function = own[-1].removeprefix("File ").split(", ", 2)
    return f"{Path(path.strip(chr(34))).name}, {line}, {function.splitlines()[0]}"


def user_frame(frames: list[traceback.FrameSummary]) -> str | None:
    """The innermost of the frames that is neither torch's nor ours."""
    own = [frame for frame in frames if _is_own(frame.filename)]
    return f"{Path(own[-1].filename).name}, line {own[-1].lineno}, in {own[-1].name}" if own else None


def _is_own(file: str) -> bool:
    """Whether the user wrote this file, or installed it: not torch's, not ours, not Python's own."""
    if file.startswith(_STANDARD_LIBRARY) and "site-packages" not in file:
        return False
    return not file.startswith((*_FOREIGN_FOLDERS, "<frozen", "<eval_with_key>"))
