"""What torch.onnx and torch.export say to everybody, kept from the terminal of a user whom it does not concern."""

import io
import logging
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

from latentmill.exporting.refusal import user_frame

# Loggers that report what an error says again, or that a library is absent which nobody asked for.
_LOGGERS = ("torch.onnx", "torch.export", "torch._export", "torch.fx.experimental.symbolic_shapes")
_SHAPES = "torch.fx.experimental.symbolic_shapes"
# Calls of torch that torch itself has deprecated, and recurrent layers, which keep a list of their weights.
_WARNINGS = (
    (FutureWarning, r".*LeafSpec.*"),
    (UserWarning, r"The tensor attributes? .*assigned during export.*"),
    (DeprecationWarning, r".*"),
    (UserWarning, r".*(onnxscript|torch\.onnx|ONNX).*"),
)


@contextmanager
def quiet() -> Iterator[None]:
    """While this lasts these loggers pass on errors alone, and partial graphs are not printed beside an exception."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            for category, message in _WARNINGS:
                warnings.filterwarnings("ignore", message=message, category=category)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class Fixing(logging.Handler):
    """Notes the user's line where torch.export replaces the batch axis by a number, which it only logs."""

    def __init__(self, caller: str) -> None:
        super().__init__()
        self.caller = caller  # the file that calls torch.export: lines above it are not the module's
        self.line: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if self.line is None and message.startswith("eval Eq(") and "[guard added]" in message:
            frames = traceback.extract_stack()
            above = [place for place, frame in enumerate(frames) if frame.filename == self.caller]
            self.line = user_frame(frames[above[-1] :]) if above else None


@contextmanager
def noting_fixed_axes(caller: str) -> Iterator[Fixing]:
    """Where axes become numbers is noted while this lasts, and shown to nobody."""
    logger, fixing = logging.getLogger(_SHAPES), Fixing(caller)
    level, propagate, handlers = logger.level, logger.propagate, logger.handlers
    logger.handlers = [fixing]  # torch gives this logger one of its own, to stderr
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield fixing
    finally:
        logger.handlers = handlers
        logger.setLevel(level)
        logger.propagate = propagate
