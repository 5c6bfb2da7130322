"""Files in a directory: written under a temporary name, synced, then linked to their own."""

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from latentmill.errors import NotFound, StorageFault, StorageFull
from service.storage.held import hold, is_abandoned
from service.storage.room import Room
from service.storage.storage import PIECE_BYTES, Incoming, StoredFile, checked_key

INCOMING = ".incoming"  # no key can begin with a dot


class LocalStorage:
    """Storage in the directory `root` of one machine, or of a volume that its processes share."""

    def __init__(self, root: Path, room: Room) -> None:
        self._root = root
        self._room = room

    def require_room(self, size_bytes: int) -> None:
        self._room.require(size_bytes)

    def require_to_go_on(self) -> None:
        self._room.require_to_go_on()

    def put(self, key: str, path: Path) -> None:
        target = self._path(key)
        with _faults(key), path.open("rb") as source:
            os.fsync(source.fileno())
            try:
                self._publish(path, target, key)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
                    raise
                with self.receive(key) as incoming:  # another file system: it cannot be linked
                    while piece := source.read(PIECE_BYTES):
                        incoming.write(piece)
                    incoming.commit()

    def put_bytes(self, key: str, data: bytes) -> None:
        with self.receive(key) as incoming:
            incoming.write(data)
            incoming.commit()

    @contextmanager
    def receive(self, key: str) -> Iterator[Incoming]:
        target = self._path(key)
        with _faults(key):
            folder = self._root / INCOMING
            folder.mkdir(parents=True, exist_ok=True)
            temporary = folder / secrets.token_hex(16)
            file = temporary.open("xb")
        hold(file.fileno())
        try:
            yield _LocalIncoming(key, file, lambda: self._publish(temporary, target, key))
        finally:
            with _faults(key):
                try:
                    file.close()  # writes what is buffered, and fails again on a full disk
                finally:
                    temporary.unlink(missing_ok=True)

    def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        path = self._path(key)
        with _faults(key):
            file = path.open("rb")
        return _pieces(key, file, start, length)

    @contextmanager
    def as_file(self, key: str) -> Iterator[Path]:
        path = self._path(key)
        with _faults(key):
            path.stat()
        yield path

    def size_bytes(self, key: str) -> int | None:
        path = self._path(key)
        with _faults(key):
            try:
                return path.stat().st_size
            except FileNotFoundError:
                return None

    def list(self, prefix: str) -> Iterator[StoredFile]:
        for entry in self._entries(prefix):
            key = f"{prefix}/{entry.name}" if prefix else entry.name
            with _faults(key), suppress(FileNotFoundError):  # deleted while we look
                if entry.is_dir(follow_symlinks=False):
                    yield from self.list(key)
                else:
                    status = entry.stat()
                    yield StoredFile(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    def folders(self, prefix: str) -> tuple[str, ...]:
        names = [entry.name for entry in self._entries(prefix) if entry.is_dir(follow_symlinks=False)]
        return tuple(f"{prefix}/{name}" if prefix else name for name in names)

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _faults(key):
            path.unlink(missing_ok=True)
            self._drop_empty(path.parent)

    def delete_prefix(self, prefix: str) -> None:
        folder = self._path(prefix)
        with _faults(prefix):
            with suppress(FileNotFoundError):
                shutil.rmtree(folder)
            self._drop_empty(folder.parent)

    def drop_if_empty(self, prefix: str) -> None:
        with _faults(prefix):
            self._drop_empty(self._path(prefix))

    def tidy(self) -> int:
        removed = 0
        with _faults("tidying"), suppress(FileNotFoundError):
            for path in (self._root / INCOMING).iterdir():
                if is_abandoned(path):
                    path.unlink(missing_ok=True)
                    removed += 1
        return removed

    def presign(self, key: str) -> str | None:
        return None

    def check(self) -> None:
        self.require_room(0)
        with _faults("check"):
            folder = self._root / INCOMING
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / secrets.token_hex(16)
            try:
                probe.write_bytes(b"latentmill")
            finally:
                probe.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._root / checked_key(key)

    def _entries(self, prefix: str) -> "tuple[os.DirEntry[str], ...]":
        """What lies directly in a folder, sorted; nothing where there is none. What begins with a dot is no key."""
        folder = self._path(prefix) if prefix else self._root
        with _faults(prefix), suppress(FileNotFoundError), os.scandir(folder) as found:
            seen = (entry for entry in found if not entry.name.startswith("."))
            return tuple(sorted(seen, key=lambda entry: entry.name))
        return ()

    def _publish(self, source: Path, target: Path, key: str) -> None:
        """Give the synced file at `source` its second name, the key's, and put that name on the disk too."""
        _link(source, target, key)
        folder = target.parent
        while folder != self._root:
            _sync_folder(folder)
            folder = folder.parent
        _sync_folder(folder)

    def _drop_empty(self, folder: Path) -> None:
        """Remove folders that hold nothing any more, upwards, up to the root."""
        while folder != self._root and self._root in folder.parents:
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    return
                raise
            folder = folder.parent


class _LocalIncoming:
    """A temporary file that its commit links to its key."""

    def __init__(self, key: str, file: BinaryIO, publish: Callable[[], None]) -> None:
        self._key = key
        self._file = file
        self._publish = publish
        self._hash = hashlib.sha256()
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        with _faults(self._key):
            self._file.write(data)
        self._hash.update(data)
        self._size_bytes += len(data)

    def commit(self) -> None:
        with _faults(self._key):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._publish()


def _link(source: Path, target: Path, key: str) -> None:
    # A delete of the folder's last file may remove the folder between its making and the link.
    for _ in range(10):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
            return
        except FileNotFoundError:
            continue
        except FileExistsError:
            if _sha256_of(target) != _sha256_of(source):
                raise StorageFault(f"{key} exists already, with other bytes") from None
            return
    raise StorageFault(f"{key}: its folder was removed again and again")


def _pieces(key: str, file: BinaryIO, start: int, length: int | None) -> Iterator[bytes]:
    left = length
    with file, _faults(key):
        file.seek(start)
        while left is None or left > 0:
            piece = file.read(PIECE_BYTES if left is None else min(left, PIECE_BYTES))
            if not piece:
                return
            left = None if left is None else left - len(piece)
            yield piece


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _faults(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {key}") from error
    except OSError as error:
        kind = StorageFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageFault
        raise kind(f"{key}: {error.strerror or error}") from error
