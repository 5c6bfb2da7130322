"""The collector: looks through storage a piece at a time and deletes what nobody can need. Several are harmless."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from latentmill.errors import LatentmillError
from service.database import Database
from service.garbage.keys import UPLOADS, place_of
from service.garbage.rule import judge
from service.garbage.scratch import remove_abandoned
from service.settings import Settings
from service.storage import Storage, StoredFile
from service.work import locks

logger = logging.getLogger(__name__)

LOCK = "collect"
LOCK_SECONDS = 60.0  # should its holder be killed; taken again for every piece
PIECE_FILES = 500  # judged in one view of the database
PASS_FILES = 50_000  # looked at in one pass; the next one goes on from there
PASS_DELETIONS = 5_000


@dataclass
class Collected:
    """What was removed."""

    removed: Counter[str] = field(default_factory=Counter)  # shard, encode, upload, ..., temporary, scratch
    deleted: int = 0  # of the files in storage
    bytes: int = 0  # of these
    looked_at: int = 0
    unknown_tenants: set[str] = field(default_factory=set)

    @property
    def total(self) -> int:
        return self.removed.total()

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.removed.items()))
        return f"{kinds}; {self.bytes:,} bytes in storage"


class Collector:
    """Keeps its place in storage between two passes, so that each is short and all of them together see everything."""

    def __init__(self, database: Database, storage: Storage, settings: Settings, *, owner: str = "collector") -> None:
        self._database = database
        self._storage = storage
        self._settings = settings
        self._owner = owner
        self._files: Iterator[StoredFile] | None = None

    def collect(self, ending: Callable[[], bool] = lambda: False) -> Collected | None:
        """One pass, which goes on from where the last one ended; None when another process is at it."""
        if not self._locked():
            return None
        try:
            collected = self._left_by_killed_processes()
            if self._files is None:
                self._files = self._walk()
            while collected.looked_at < PASS_FILES and collected.deleted < PASS_DELETIONS and not ending():
                if not self._take(self._files, collected):
                    self._files = None
                    break
                if not self._locked():
                    break
        except BaseException:
            self._files = None  # from the beginning, next time
            raise
        finally:
            self._unlock()
        _tell(collected)
        return collected

    def collect_everything(self) -> Collected:
        """One look at everything that is in storage now, beside whoever else is at it."""
        collected, files = self._left_by_killed_processes(), self._walk()
        while self._take(files, collected):
            pass
        _tell(collected)
        return collected

    def _left_by_killed_processes(self) -> Collected:
        collected = Collected()
        collected.removed["temporary"] = self._storage.tidy()
        collected.removed["scratch"] = remove_abandoned(self._settings.scratch_dir)
        collected.removed = +collected.removed  # without what was none
        return collected

    def _take(self, files: Iterator[StoredFile], collected: Collected) -> bool:
        """Look at the next files, and delete those that are garbage; False when there are no more."""
        piece = list(islice(files, PIECE_FILES))
        if not piece:
            return False
        with self._database.reading() as session:  # begun now, after the files were listed
            verdict = judge(session, piece, self._settings)
        collected.looked_at += len(piece)
        collected.unknown_tenants |= verdict.unknown_tenants
        for file in verdict.garbage:
            try:
                self._storage.delete(file.key)
            except LatentmillError as error:
                logger.warning("garbage: %s", error.detail)  # and the others all the same
                continue
            collected.removed[_named(file.key)] += 1
            collected.deleted += 1
            collected.bytes += file.size_bytes
        return True

    def _walk(self) -> Iterator[StoredFile]:
        """All files, folder by folder."""
        for tenant in self._storage.folders(""):
            for folder in self._storage.folders(tenant):
                if folder.endswith(f"/{UPLOADS}"):
                    yield from self._storage.list(folder)
                    continue
                for resource in self._storage.folders(folder):
                    files = list(self._storage.list(resource))
                    if not files:
                        self._storage.drop_if_empty(resource)  # of a delete that was killed half-way
                    yield from files

    def _locked(self) -> bool:
        with self._database.writing() as session:
            return locks.take(session, LOCK, owner=self._owner, seconds=LOCK_SECONDS)

    def _unlock(self) -> None:
        with self._database.writing() as session:
            locks.release(session, LOCK, owner=self._owner)


def _named(key: str) -> str:
    """What a file is counted as."""
    place = place_of(key)
    if place is None or place.attempt is None:
        return "upload" if place is not None and place.folder == UPLOADS else "other"
    return place.attempt.kind


def _tell(collected: Collected) -> None:
    if collected.total:
        logger.info("garbage: removed %s", collected)
    if unknown := sorted(collected.unknown_tenants):
        logger.warning(
            "garbage: files of tenants whom this database has never had stay (%s%s): is it the right database?",
            ", ".join(unknown[:5]),
            ", ..." if len(unknown) > 5 else "",
        )
