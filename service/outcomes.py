"""What follows when something has settled or has been given up: upwards, from what is needed to those who need it."""

import logging
from collections.abc import Callable

from sqlalchemy import event, select
from sqlalchemy.orm import Session

from latentmill.errors import LatentmillError, Problem
from service import work
from service.datasets import operations as datasets
from service.datasets.tables import DatasetRow
from service.fits import encodings
from service.fits import operations as fits
from service.fits.tables import EncodingRow, FitRow
from service.jobs import holding, shards
from service.jobs import operations as jobs
from service.jobs.tables import JobRow
from service.models import operations as models
from service.previews import operations as previews
from service.reports import operations as reports
from service.reports.tables import ReportRow
from service.settings import Settings
from service.storage import Storage
from service.tables import Base as _every_table  # noqa: F401 - a flush follows foreign keys to tables of any noun
from service.work import Claim, WorkItemRow, needs
from service.work.needs import ResourceKind

log = logging.getLogger("latentmill.service")

Locked = type[DatasetRow] | type[EncodingRow] | type[FitRow] | type[ReportRow] | type[JobRow]
LOCKED: tuple[tuple[ResourceKind, Locked], ...] = (
    ("dataset", DatasetRow),
    ("encoding", EncodingRow),
    ("fit", FitRow),
    ("report", ReportRow),
    ("job", JobRow),
)
FAIL_ORDER: tuple[ResourceKind, ...] = ("job", "report", "fit", "encoding", "dataset")
SUBJECTS: dict[str, ResourceKind] = {
    "inspect": "model",
    "read": "dataset",
    "encode": "encoding",
    "fit": "fit",
    "report": "report",
    "shard": "job",
    "finalize": "job",
}


class Outcomes:
    """What an end means to those who waited for it. All within the transaction that brings the end."""

    def __init__(self, storage: Storage, settings: Settings) -> None:
        self._storage = storage
        self._settings = settings

    def settled(self, session: Session, kind: ResourceKind, resource_id: str, problem: Problem | None = None) -> None:
        """A resource has become ready, or has failed with `problem`: its dependents start, or fail with it."""
        if kind == "job":
            # Nothing needs a job; but a limit of its tenant may hold others until it is over.
            holding.begin_held(session, session.get_one(JobRow, resource_id).tenant_id, self._settings)
            return
        dependents = needs.dependents_of(session, (kind, resource_id))
        _lock(session, dependents)
        complete = needs.settle(session, (kind, resource_id))
        if problem is None:
            # Jobs last: one that begins may lock its tenant, and nothing else is locked after that.
            for dependent in sorted(complete, key=lambda each: each.kind == "job"):
                self._start(session, dependent)
            return
        # Those at the top first: a report whose encoding has failed must not go on because its fits, which fail with
        # it, are settled.
        for dependent in sorted(dependents, key=lambda each: FAIL_ORDER.index(each.kind)):
            if not _goes_on_without(dependent, kind):
                self._fail(session, dependent, problem)
            elif dependent in complete:
                self._start(session, dependent)

    def progressed(self, session: Session, claim: Claim, fraction: float) -> None:
        """How far the holder of a work item is with it."""
        match claim.kind:
            case "encode":
                encodings.report_progress(session, claim, fraction)
            case "fit":
                fits.report_progress(session, claim, fraction)
            case "report":
                reports.report_progress(session, claim, fraction)

    def fail(self, session: Session, item: WorkItemRow, problem: Problem) -> None:
        """The sweep has given a work item up: so has its resource."""
        keys: list[str] = []
        resource: tuple[ResourceKind, str]
        match item.kind:
            case "inspect":
                resource = ("model", item.subject_id)
                keys = models.mark_rejected(session, item.subject_id, problem)
            case "read":
                resource = ("dataset", item.subject_id)
                keys = datasets.mark_rejected(session, item.subject_id, problem)
            case "encode" | "fit" | "report" | "shard" | "finalize":
                resource = (SUBJECTS[item.kind], item.subject_id)
                self._mark_failed(session, needs.Resource(*resource), problem)
            case "preview":
                previews.mark_failed(session, item.subject_id, problem)
                return  # nothing waits for a preview but its client
            case _:
                return
        self.delete_files(session, keys)
        self.settled(session, *resource, problem)

    def given_up(self, session: Session, claim: Claim, problem: Problem) -> None:
        """The holder of a work item gives it up for good: so does its resource."""
        keys: list[str] = []
        match claim.kind:
            case "inspect":
                keys = models.reject(session, claim, problem)
            case "read":
                keys = datasets.reject(session, claim, problem)
            case "encode":
                encodings.fail_encoding(session, claim, problem)
            case "fit":
                fits.fail_fit(session, claim, problem)
            case "report":
                reports.fail_report(session, claim, problem)
            case "shard" | "finalize":
                shards.fail_job(session, claim, problem)
            case "preview":
                previews.fail_preview(session, claim, problem)
                return
            case _:
                work.fail(session, claim)
                return
        self.delete_files(session, keys)
        self.settled(session, SUBJECTS[claim.kind], claim.subject_id, problem)

    def stopped(self, session: Session, claim: Claim) -> None:
        """The holder of a work item has stopped, because it was asked to."""
        if SUBJECTS.get(claim.kind) == "job":
            shards.commit_stop(session, claim)
            self.settled(session, "job", claim.subject_id)
        else:
            work.cancel(session, claim)

    def resume(self, session: Session) -> None:
        """Move on what a crash left behind, and drop the previews that nobody waits for."""
        jobs.resume(session)
        holding.begin_all_held(session, self._settings)
        previews.drop_old(session, self._settings.work)

    def deleted(self, session: Session, kind: ResourceKind, resource_id: str) -> None:
        """A model or a dataset is deleted: so is what was made of it and holds its rows."""
        keys: list[str] = []
        if kind == "model":
            keys = encodings.delete_of(session, model_id=resource_id)
        elif kind == "dataset":
            keys = encodings.delete_of(session, dataset_id=resource_id)
            keys += fits.delete_row_holders_of(session, resource_id)
        self.delete_files(session, keys)

    def delete_files(self, session: Session, keys: list[str]) -> None:
        """Delete these files when the transaction is committed, and not otherwise."""
        if keys:
            after_commit(session, lambda: self._delete(keys))

    def delete_folder(self, session: Session, folder: str) -> None:
        """Delete the files in this folder when the transaction is committed, and not otherwise."""
        after_commit(session, lambda: self._storage.delete_prefix(folder))

    def _delete(self, keys: list[str]) -> None:
        for key in keys:
            self._storage.delete(key)

    def _start(self, session: Session, dependent: needs.Resource) -> None:
        try:
            match dependent.kind:
                case "dataset":
                    datasets.start(session, dependent.id)
                case "encoding":
                    encodings.start(session, dependent.id)
                case "fit":
                    fits.start(session, dependent.id)
                case "report":
                    reports.start(session, dependent.id)
                case "job":
                    jobs.start(session, dependent.id, self._settings)
        except LatentmillError as error:
            # Only now could it be seen that what was asked for does not go together.
            self._fail(session, dependent, error.problem(session.info.get("request_id")))

    def _fail(self, session: Session, dependent: needs.Resource, problem: Problem) -> None:
        # A job that waited had no turn that another could have.
        if self._mark_failed(session, dependent, problem) and dependent.kind != "job":
            self.settled(session, dependent.kind, dependent.id, problem)

    def _mark_failed(self, session: Session, resource: needs.Resource, problem: Problem) -> bool:
        match resource.kind:
            case "dataset":
                keys = datasets.mark_rejected(session, resource.id, problem)
                self.delete_files(session, keys)
                return bool(keys)
            case "encoding":
                return encodings.mark_failed(session, resource.id, problem)
            case "fit":
                return fits.mark_failed(session, resource.id, problem)
            case "report":
                return reports.mark_failed(session, resource.id, problem)
            case "job":
                return jobs.mark_failed(session, resource.id, problem)
            case _:
                return False


def _goes_on_without(dependent: needs.Resource, needed: ResourceKind) -> bool:
    """Whether it can do without what has failed: to a report a failed fit is a candidate less."""
    return dependent.kind == "report" and needed == "fit"


def _lock(session: Session, resources: list[needs.Resource]) -> None:
    """Lock these rows, datasets before encodings, fits, reports and jobs: so does everyone who locks several."""
    for kind, table in LOCKED:
        if ids := [resource.id for resource in resources if resource.kind == kind]:
            rows = select(table.id).where(table.id.in_(ids)).order_by(table.id)
            session.execute(rows.with_for_update(key_share=True))


def after_commit(session: Session, act: Callable[[], None]) -> None:
    """Do `act` once the session's transaction is committed. A fault of it is logged: the commit stands."""

    def _committed(committed: Session) -> None:
        if committed.in_nested_transaction():
            return  # a savepoint, not the transaction
        try:
            act()
        except LatentmillError as error:
            log.warning("after a commit: %s", error.detail)

    event.listen(session, "after_commit", _committed)
