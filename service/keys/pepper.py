"""The pepper: the secret that stored hashes of API keys are keyed with, so that the database alone proves nothing."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from latentmill.errors import StorageFault
from service.settings import Settings

PEPPER_FILE = "pepper"


def pepper_of(settings: Settings) -> bytes:
    """The pepper from the settings, else from a private file in `data_dir` that is made on first use."""
    if settings.keys.pepper is not None:
        return settings.keys.pepper.get_secret_value().encode()
    path = settings.data_dir / PEPPER_FILE
    try:
        with suppress(FileNotFoundError):
            return path.read_bytes()
        return _made(path)
    except OSError as error:
        raise StorageFault(f"{path}: {error.strerror}") from error


def _made(path: Path) -> bytes:
    """A new pepper at `path`; when two processes make one at the same time, both get the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{PEPPER_FILE}-{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
    return path.read_bytes()
