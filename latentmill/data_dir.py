"""The data directory of `latentmill up`: one owner at a time, private files, logs of this start and the one before."""

import fcntl
import json
import os
from pathlib import Path

from latentmill.errors import AlreadyRunning, StorageFault
from latentmill.surroundings import ENDPOINT_FILE

LOCK_FILE = "up.lock"


class Claimed:
    """The lock on a data directory; the system lets go of it when this process ends, however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def note_url(self, url: str) -> None:
        """Write down who holds the directory, for whoever asks next."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps({"pid": os.getpid(), "url": url}).encode(), 0)

    def release(self) -> None:
        os.close(self._descriptor)


def claim_data_dir(data_dir: Path) -> Claimed:
    """Make the directory, lock it and clear what a killed owner left; AlreadyRunning where another process holds it."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        (data_dir / "logs").mkdir(exist_ok=True)
        descriptor = os.open(data_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageFault(f"{data_dir} cannot be used: {error.strerror or error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(descriptor, 4096, 0)
        os.close(descriptor)
        raise AlreadyRunning(f"Latentmill is already running on {data_dir}{_described(owner)}") from error
    (data_dir / ENDPOINT_FILE).unlink(missing_ok=True)
    return Claimed(descriptor)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only this user may read, whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        os.fsync(descriptor)
    os.replace(part, path)


def rotated_log(data_dir: Path, name: str) -> Path:
    """The log of `name`, empty; the one of the last start is kept beside it."""
    log = data_dir / "logs" / f"{name}.log"
    if log.exists():
        log.replace(log.with_name(f"{name}.log.1"))
    log.touch(mode=0o600)
    return log


def _described(owner: bytes) -> str:
    try:
        known = json.loads(owner)
        return f": process {known['pid']}, {known['url']}"
    except (ValueError, KeyError, TypeError):  # the owner has not written it yet
        return ""
