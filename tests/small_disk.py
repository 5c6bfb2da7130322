"""A real file system that is small enough to be filled, where the machine lets the tests mount one."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from service.settings import MIB
from service.storage.room import used_bytes

FILLER = "filler"
CAPACITY_BYTES = 64 * MIB  # of a folder that stands for a disk where none can be mounted


def can_mount(folder: Path) -> bool:
    """Whether this machine lets the tests mount a small disk."""
    try:
        with small_disk(folder, "64k"):
            return True
    except pytest.skip.Exception:
        return False
    finally:
        folder.rmdir()


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of this size (`64k`, `8m`) at `folder`; the test is skipped where it cannot be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let the tests mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path, leave_bytes: int = 0) -> None:
    """Let somebody else take all of the disk but so much."""
    if not disk.is_mount():  # only its capacity is small
        with (disk / FILLER).open("wb") as file:
            file.truncate(CAPACITY_BYTES - used_bytes(disk) - leave_bytes)
        return
    status = os.statvfs(disk)
    left = status.f_bavail * status.f_frsize - leave_bytes
    with suppress(OSError), (disk / FILLER).open("ab", buffering=0) as file:  # full before we thought so
        while left > 0:
            left -= file.write(b"x" * min(left, 2**20))


def free(disk: Path) -> None:
    """Let somebody else give back what `fill` took."""
    (disk / FILLER).unlink()


def is_full(disk: Path) -> bool:
    """Whether not even a byte can be written."""
    try:
        with (disk / "probe").open("wb", buffering=0) as probe:
            probe.write(b"x")
    except OSError as error:
        return error.errno == errno.ENOSPC
    finally:
        (disk / "probe").unlink(missing_ok=True)
    return False
