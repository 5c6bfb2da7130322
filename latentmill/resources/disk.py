"""Files on the user's disk: whole or not there, and what goes wrong said in our words."""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from latentmill.errors import StorageFault, StorageFull

PIECE_BYTES = 1 << 20


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """An operating-system error inside is raised as StorageFull or StorageFault naming `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"no space left for {path}") from error
        raise StorageFault(f"{path}: {error.strerror or error}") from error


def write_whole(path: Path, content: bytes) -> Path:
    """Write beside, then rename: a reader meets the whole file or none."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_bytes(content)
        os.replace(part, path)
    return path


def sha256_of(path: Path) -> str:
    """sha256 (hex) of a file."""
    with disk_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
