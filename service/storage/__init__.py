"""Files by key, each written at once or not at all."""

from service.settings import Settings
from service.storage.local import LocalStorage
from service.storage.storage import Incoming, Storage, StoredFile

__all__ = ["Incoming", "Storage", "StoredFile", "open_storage"]


def open_storage(settings: Settings) -> Storage:
    """The storage that the settings name: files in `data_dir` unless they say otherwise."""
    url = settings.storage.url
    if url is None:
        return LocalStorage(settings.files_dir)
    raise ValueError(f"no storage for {url!r}: leave storage.url out for files in data_dir")
