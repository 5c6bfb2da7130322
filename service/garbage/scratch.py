"""Scratch folders of workers that were killed: `ROOT/HOST/PID-*`, each held by its maker while that lives."""

import re
import shutil
from contextlib import suppress
from pathlib import Path

from service.storage.held import is_abandoned

FOLDER = re.compile(r"\d+-\w+")


def remove_abandoned(root: Path) -> int:
    """Remove the folders under `root` that nobody holds any more; how many."""
    removed = 0
    with suppress(FileNotFoundError, NotADirectoryError):  # no worker has been here, or another sweeper is faster
        for host in root.iterdir():
            for folder in host.iterdir() if host.is_dir() else ():
                if FOLDER.fullmatch(folder.name) and is_abandoned(folder):
                    shutil.rmtree(folder, ignore_errors=True)
                    removed += not folder.exists()
    return removed
