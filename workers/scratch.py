"""Temporary folders for files in the making, and the removal of those that killed processes left."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from workers.disk import disk_errors


class Scratch:
    """Folders named after this host and process, so that whoever comes later sees whose they were."""

    def __init__(self, root: Path) -> None:
        self._folder = root / socket.gethostname()
        with disk_errors("the scratch folder was made"):
            self._folder.mkdir(parents=True, exist_ok=True)
        self._remove_abandoned()

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """An empty folder, removed with all that is in it at the end of the block."""
        with disk_errors("a scratch folder was made"):
            folder = Path(mkdtemp(prefix=f"{os.getpid()}-", dir=self._folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _remove_abandoned(self) -> None:
        for folder in self._folder.iterdir():
            process_id = folder.name.partition("-")[0]
            # Our own number was another's before us: in a container that starts again, the numbers are the same.
            if process_id.isdigit() and (int(process_id) == os.getpid() or not _is_alive(int(process_id))):
                shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # alive, and somebody else's
        return True
    return True
