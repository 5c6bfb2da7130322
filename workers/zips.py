"""Zip files that strangers send, opened so that their directory alone cannot fill the memory."""

import errno
import io
import zlib
from pathlib import Path
from zipfile import BadZipFile

DIRECTORY_BYTES = 4 * 2**20
DAMAGED = (BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)
"""What zipfile raises for a file that is none: an OSError only if `is_of_the_file`; RuntimeError for a password."""


class DirectoryTooLarge(ValueError):
    """The zip's directory is larger than what is read of one."""


class BoundedReads(io.BufferedReader):
    """A file that refuses a single read larger than any honest zip needs: the directory is read in one."""

    def __init__(self, path: Path, directory_bytes: int = DIRECTORY_BYTES) -> None:
        super().__init__(io.FileIO(path))  # closed with this
        self._most = directory_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(self._most + 1 if size is None or size < 0 else min(size, self._most + 1))
        if len(content) > self._most:
            raise DirectoryTooLarge(f"the directory is larger than {self._most:,} bytes")
        return content


def is_of_the_file(error: BaseException) -> bool:
    """Whether the zip is at fault, not the disk: it may name a place before the file's beginning (EINVAL)."""
    return not isinstance(error, OSError) or error.errno == errno.EINVAL
