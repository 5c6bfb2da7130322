"""Temporary folders for files in the making, each held by its maker: what killed ones left goes with whoever comes."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from service.garbage.scratch import remove_abandoned
from service.storage import Room
from service.storage.held import hold
from workers.disk import disk_errors


class Scratch:
    """Folders under one of this host's own."""

    def __init__(self, root: Path, room: Room) -> None:
        self.room = room
        self._folder = root / socket.gethostname()
        with disk_errors("the scratch folder was made"):
            self._folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(root)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """An empty folder, removed with all that is in it at the end of the block."""
        with disk_errors("a scratch folder was made"):
            folder = Path(mkdtemp(prefix=f"{os.getpid()}-", dir=self._folder))
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        hold(held)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(held)
