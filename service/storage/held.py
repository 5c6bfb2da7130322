"""Whose a temporary file or folder is: its maker holds a lock on it, which ends with the maker's process."""

import fcntl
import os
import time
from pathlib import Path

YOUNG_SECONDS = 2.0  # until then its maker may not have come to locking it
STALE_SECONDS = 7 * 86_400.0  # where a file system has no locks, only age tells


def hold(descriptor: int) -> None:
    """Mark the open file or folder as in use, until it is closed or this process ends, however it ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return  # a file system without locks: its age must do


def is_abandoned(path: Path) -> bool:
    """Whether the process that made the file or folder at `path` has ended. One that is stopped still holds it."""
    try:
        age_seconds = time.time() - path.lstat().st_mtime
        if age_seconds < YOUNG_SECONDS or path.is_symlink():
            return False
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False  # gone meanwhile, or not ours to judge
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return age_seconds > STALE_SECONDS
    finally:
        os.close(descriptor)
    return True
