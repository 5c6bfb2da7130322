"""Faults of the disk, in the words of the error tree."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from latentmill.errors import StorageFault, StorageFull

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """Operating-system errors while `doing` (as in "a shard was written") become StorageFull or StorageFault."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise StorageFull(f"The disk filled up while {doing}") from error
        raise StorageFault(f"The disk failed while {doing}: {error}") from error


def is_disk_full(error: BaseException) -> bool:
    """True where a disk, or what this user may have of it, is full."""
    if isinstance(error, OSError):
        return error.errno in FULL
    # safetensors has errors of its own, which only say in words what the system said.
    return any(f"(os error {number})" in str(error) for number in FULL)
