"""Which stored files nobody can need: the rule, as one look at the database.

A file is published by a row that names it, in the transaction that ends the attempt that stored it; and an attempt can
end so only while its fence is the newest of its work item. Hence a file is garbage when, in one consistent view that is
*younger* than the listing in which it was seen, no row names it and

- its resource is deleted, or will never be worked on again (a job that succeeded), or
- a newer fence than its own was given out, or its own is over and its resource has failed or was cancelled;
- or it is an upload, or belongs to a resource that the database has never had, and is older than the grace.

Nothing else: what is not understood stays, and so does all that belongs to a tenant whom the database does not know:
that is another database's, or this one was lost.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.database import database_now
from service.garbage.keys import UPLOADS, Place, place_of
from service.settings import Settings
from service.storage import StoredFile
from service.tables import (
    DatasetRow,
    EncodingRow,
    FitRow,
    JobRow,
    ModelRow,
    ReportRow,
    ShardRow,
    TenantRow,
    WorkItemRow,
)

SubjectRow = type[JobRow] | type[DatasetRow] | type[EncodingRow] | type[FitRow] | type[ReportRow]
SUBJECTS: dict[str, tuple[SubjectRow, tuple[InstrumentedAttribute[Any], ...]]] = {  # and what names their files
    "jobs": (JobRow, (JobRow.files,)),
    "datasets": (DatasetRow, (DatasetRow.rows_key, DatasetRow.labels_key)),
    "encodings": (EncodingRow, (EncodingRow.key,)),
    "fits": (FitRow, (FitRow.parameters_key,)),
    "reports": (ReportRow, (ReportRow.page_key,)),
}
UPLOADERS = (ModelRow.key, DatasetRow.key, DatasetRow.labels_upload_key, DatasetRow.rows_key, DatasetRow.labels_key)
FINAL = frozenset({"succeeded", "ready"})  # no work item will ever be added again
OVER = frozenset({"failed", "cancelled", "rejected"})  # nothing is at work, but it may be tried again


@dataclass(frozen=True)
class Verdict:
    """What to delete of the files that were looked at, and the tenants of whom the database knows nothing."""

    garbage: list[StoredFile]
    unknown_tenants: frozenset[str]


def judge(session: Session, files: Sequence[StoredFile], settings: Settings) -> Verdict:
    """The garbage among `files`. The view of `session` must begin after they were listed."""
    placed = [(file, place) for file in files if (place := place_of(file.key)) is not None]
    view = _View(session, [place for _, place in placed], settings)
    return Verdict(
        [file for file, place in placed if view.is_garbage(file, place)],
        frozenset(place.tenant_id for _, place in placed) - view.tenants,
    )


@dataclass(frozen=True)
class _Subject:
    """The resource that a file was made for."""

    tenant_id: str
    state: str
    deleted: bool


class _View:
    """What one consistent view of the database says of some places."""

    def __init__(self, session: Session, places: Sequence[Place], settings: Settings) -> None:
        self._session = session
        now = database_now(session)
        self._born_before = now - timedelta(seconds=settings.storage.upload_grace_seconds)
        # Items that ended long ago are forgotten, and fences then start anew: what they say is believed for half of
        # that time only, so that it still holds when the file is deleted.
        self._ended_after = now - timedelta(seconds=settings.work.keep_finished_seconds / 2)
        known = select(TenantRow.id).where(TenantRow.id.in_({place.tenant_id for place in places}))
        self.tenants = frozenset(session.execute(known).scalars())
        self._named: set[str] = set()
        self._subjects: dict[str, _Subject] = {}
        for folder in SUBJECTS:
            self._look_up(folder, {place.subject_id for place in places if place.folder == folder})
        self._look_up_shards(places)
        self._look_up_uploads({place.tenant_id for place in places if place.folder == UPLOADS})

    def is_garbage(self, file: StoredFile, place: Place) -> bool:
        if place.tenant_id not in self.tenants or file.key in self._named:
            return False
        subject = self._subjects.get(place.subject_id)
        if subject is None or subject.tenant_id != place.tenant_id:  # as of an upload, always
            return file.modified_at < self._born_before
        if subject.deleted:
            return True
        return place.attempt is not None and (subject.state in FINAL or self._is_fenced_off(place, subject))

    def _is_fenced_off(self, place: Place, subject: _Subject) -> bool:
        """Whether the attempt that stored the file can never publish it."""
        if (attempt := place.attempt) is None:
            return False
        items = select(WorkItemRow.fence, WorkItemRow.state).where(
            WorkItemRow.subject_id == place.subject_id,
            WorkItemRow.kind == attempt.kind,
            WorkItemRow.index.is_(None) if attempt.index is None else WorkItemRow.index == attempt.index,
            or_(WorkItemRow.finished_at.is_(None), WorkItemRow.finished_at > self._ended_after),
        )
        fences = [(fence, state == "leased") for fence, state in self._session.execute(items)]
        if not fences:
            return False
        newest, is_held = max(fences)
        return attempt.fence < newest or (attempt.fence == newest and not is_held and subject.state in OVER)

    def _look_up(self, folder: str, ids: set[str]) -> None:
        if ids:
            table, naming = SUBJECTS[folder]
            columns = select(table.id, table.tenant_id, table.state, table.deleted_at, *naming)
            for id, tenant_id, state, deleted_at, *names in self._session.execute(columns.where(table.id.in_(ids))):
                self._subjects[id] = _Subject(tenant_id, state, deleted_at is not None)
                self._named.update(_keys(names))

    def _look_up_shards(self, places: Iterable[Place]) -> None:
        indices: dict[str, set[int]] = {}
        for place in places:
            if place.attempt is not None and place.attempt.index is not None:
                indices.setdefault(place.subject_id, set()).add(place.attempt.index)
        for job_id, those in indices.items():
            committed = select(ShardRow.key).where(ShardRow.job_id == job_id, ShardRow.index.in_(those))
            self._named.update(self._session.execute(committed).scalars())

    def _look_up_uploads(self, tenant_ids: set[str]) -> None:
        for column in UPLOADERS:
            named = select(column).where(column.class_.tenant_id.in_(tenant_ids), column.is_not(None))
            self._named.update(_keys(self._session.execute(named).scalars()))


def _keys(names: Iterable[Any]) -> Iterable[str]:
    """The keys that a row names: in columns of their own, or in a job's column of files."""
    for name in names:
        if isinstance(name, dict):
            yield from (file["key"] for file in name.values())
        elif name is not None:
            yield name
