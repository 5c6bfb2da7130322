"""What lies in a folder that others change meanwhile."""

import os
from pathlib import Path


def files_in(folder: Path) -> set[str]:
    """The files in the folder and below it, as paths within it; whatever goes while we look may be in it or not.

    `Path.rglob` raises where a folder goes between being listed and being entered.
    """
    paths = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return {path.relative_to(folder).as_posix() for path in paths if path.is_file()}
