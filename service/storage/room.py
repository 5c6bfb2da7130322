"""How much more a disk can take: what is free beyond a reserve, and below a cap where there is one."""

import errno
import os
import threading
import time
from pathlib import Path

from latentmill.errors import StorageFault, StorageFull

FRESH = 20  # a count of the files holds for so many times as long as it took,
FRESH_SECONDS = 0.2  # and for so long at least


class Room:
    """What may still be written into `folder`.

    The reserve is what the database, the broker and the logs have left to go on with when files have filled the disk.
    `capacity_bytes`, if given, is for everything under the folder `capped`, whatever the disk has.
    """

    def __init__(
        self, folder: Path, *, reserve_bytes: int, capped: Path | None = None, capacity_bytes: int | None = None
    ) -> None:
        self._folder = folder
        self._reserve_bytes = reserve_bytes
        self._capped = capped
        self._capacity_bytes = capacity_bytes
        self._counting = threading.Lock()
        self._used_bytes = 0
        self._fresh_until = 0.0

    def require(self, size_bytes: int) -> None:
        """Raises StorageFull unless so many bytes more fit."""
        self._require(size_bytes, self._reserve_bytes)

    def require_to_go_on(self) -> None:
        """As before a beginning, but what was begun may take half of the reserve: others have begun too."""
        self._require(0, self._reserve_bytes // 2)

    def _require(self, size_bytes: int, reserve_bytes: int) -> None:
        free = _free_bytes(self._folder)
        if free < size_bytes + reserve_bytes:
            raise StorageFull(
                f"{_asked(size_bytes)}: the disk of {self._folder} has {free:,} bytes free, of which {reserve_bytes:,} "
                "are kept in reserve (storage.reserve_bytes). Delete jobs, datasets or models that are not needed any "
                "more, or make room on the disk."
            )
        if self._capped is not None and self._capacity_bytes is not None:
            used = self._used()
            if used + size_bytes > self._capacity_bytes:
                raise StorageFull(
                    f"{_asked(size_bytes)}: {self._capped} holds {used:,} of the {self._capacity_bytes:,} bytes that "
                    "it may (storage.capacity_bytes). Delete jobs, datasets or models that are not needed any more, or "
                    "raise the setting."
                )

    def _used(self) -> int:
        """The bytes of all files under the capped folder, counted anew when the last count is not fresh any more."""
        with self._counting:
            begun = time.monotonic()
            if begun >= self._fresh_until and self._capped is not None:
                self._used_bytes = used_bytes(self._capped)
                taken = time.monotonic() - begun
                self._fresh_until = begun + max(FRESH_SECONDS, FRESH * taken)
            return self._used_bytes


def _asked(size_bytes: int) -> str:
    return f"{size_bytes:,} bytes do not fit" if size_bytes else "No more fits"


def used_bytes(folder: Path) -> int:
    """The bytes of all files under `folder`; one with several names counts once."""
    seen: dict[tuple[int, int], int] = {}
    folders = [folder]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    else:
                        status = entry.stat(follow_symlinks=False)
                        seen[status.st_dev, status.st_ino] = status.st_size
        except FileNotFoundError:
            continue  # removed while we look
        except OSError as error:
            raise StorageFault(f"{folder} cannot be measured: {error.strerror or error}") from error
    return sum(seen.values())


def _free_bytes(folder: Path) -> int:
    """What this user may still write to the disk of `folder`, which need not exist yet."""
    for place in (folder, *folder.parents):
        try:
            status = os.statvfs(place)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                continue
            raise StorageFault(f"{folder} cannot be looked at: {error.strerror or error}") from error
        return status.f_bavail * status.f_frsize
    raise StorageFault(f"{folder} is on no disk")
