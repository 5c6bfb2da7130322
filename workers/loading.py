"""Loading libraries, which takes a process of the mill longer than anything else at its start."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """While torch is loaded within: a fifth faster, for nobody looks for garbage among what stays to the end.

    Nor does anybody later: a collection walks through half a million objects less, and a fork copies fewer pages.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
