"""Files by key, each written at once or not at all."""

from pathlib import Path

from service.settings import Settings
from service.storage.local import LocalStorage
from service.storage.room import Room
from service.storage.storage import Incoming, Storage, StoredFile

__all__ = ["Incoming", "Room", "Storage", "StoredFile", "open_storage", "room_in"]


def open_storage(settings: Settings) -> Storage:
    """The storage that the settings name: files in `data_dir` unless they say otherwise."""
    url = settings.storage.url
    if url is None:
        return LocalStorage(settings.files_dir, room_in(settings, settings.files_dir))
    raise ValueError(f"no storage for {url!r}: leave storage.url out for files in data_dir")


def room_in(settings: Settings, folder: Path) -> Room:
    """The room for files in `folder`, by the settings' reserve and, within `data_dir`, their capacity."""
    capped = settings.storage.capacity_bytes is not None and folder.is_relative_to(settings.data_dir)
    return Room(
        folder,
        reserve_bytes=settings.storage.reserve_bytes,
        capped=settings.data_dir if capped else None,
        capacity_bytes=settings.storage.capacity_bytes,
    )
