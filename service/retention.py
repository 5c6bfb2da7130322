"""Retention: what has expired is deleted as its owner would delete it, once nothing at work needs it."""

import logging
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from latentmill.errors import Gone, InUse
from service.database import Database, database_now, database_time
from service.datasets import operations as datasets
from service.jobs import operations as jobs
from service.jobs.states import TERMINAL, lock
from service.models import operations as models
from service.outcomes import Outcomes
from service.settings import Settings
from service.tables import DatasetRow, JobRow, ModelRow
from service.work.needs import is_in_use

log = logging.getLogger("latentmill.service")

Expiring = type[JobRow] | type[DatasetRow] | type[ModelRow]
Delete = Callable[[Session, str, str, Outcomes, Settings], bool]


def delete_expired(
    database: Database, outcomes: Outcomes, settings: Settings, ending: Callable[[], bool] = lambda: False
) -> int:
    """Delete what has expired and is not in use, some of each kind; how many. Several at once are harmless."""
    deleted = 0
    # Jobs first: what they alone needed is free then.
    for table, free, delete in (
        (JobRow, JobRow.state.in_(TERMINAL), _delete_job),
        (DatasetRow, ~is_in_use("dataset", DatasetRow.id), _delete_dataset),
        (ModelRow, ~is_in_use("model", ModelRow.id), _delete_model),
    ):
        for tenant_id, resource_id in _expired(database, table, free, settings.retention.at_a_time):
            if ending():
                return deleted
            deleted += _deleted(database, outcomes, settings, tenant_id, resource_id, delete)
    return deleted


def _expired(database: Database, table: Expiring, free: ColumnElement[bool], at_a_time: int) -> list[tuple[str, str]]:
    """Tenant and id of those that expired first. Those in use are left out, so that they do not stop the others."""
    expired = select(table.tenant_id, table.id).where(
        table.expires_at <= database_time(), table.deleted_at.is_(None), free
    )
    with database.reading() as session:
        return [(owner, found) for owner, found in session.execute(expired.order_by(table.expires_at).limit(at_a_time))]


def _deleted(
    database: Database, outcomes: Outcomes, settings: Settings, tenant_id: str, resource_id: str, delete: Delete
) -> bool:
    """Delete one, in a transaction of its own; False where it is not to be deleted now."""
    try:
        with database.on_behalf_of(tenant_id, None).writing() as session:
            done = delete(session, tenant_id, resource_id, outcomes, settings)
    except (InUse, Gone, _StillWanted):
        return False  # since we looked: it is needed, asked for again, or another beat was faster
    if done:
        log.info("%s has expired and is deleted", resource_id)
    return done


def _delete_job(session: Session, tenant_id: str, job_id: str, outcomes: Outcomes, settings: Settings) -> bool:
    job = lock(session, job_id)
    if job.state not in TERMINAL or job.expires_at is None or job.deleted_at is not None:
        return False  # it is made again, or another beat was faster
    if job.finished_at is not None and job.finished_at > job.expires_at:
        # It was at work when it expired. Deleted at once, all of its work would be for nobody.
        job.expires_at = job.finished_at + timedelta(seconds=settings.retention.late_job_seconds)
        return False
    outcomes.delete_folder(session, jobs.folder_of(jobs.delete(session, tenant_id, job_id)))
    return True


class _StillWanted(Exception):
    """Its owner has asked for it again since we looked."""


def _delete_dataset(session: Session, tenant_id: str, dataset_id: str, outcomes: Outcomes, settings: Settings) -> bool:
    row, keys = datasets.delete(session, tenant_id, dataset_id)
    _check_expired(session, row)
    outcomes.delete_files(session, keys)
    outcomes.deleted(session, "dataset", row.id)
    return True


def _delete_model(session: Session, tenant_id: str, model_id: str, outcomes: Outcomes, settings: Settings) -> bool:
    row, keys = models.delete(session, tenant_id, model_id)
    _check_expired(session, row)
    outcomes.delete_files(session, keys)
    outcomes.deleted(session, "model", row.id)
    return True


def _check_expired(session: Session, row: DatasetRow | ModelRow) -> None:
    """Of a row that is locked by now: raising undoes the deletion."""
    if row.expires_at is None or row.expires_at > database_now(session):
        raise _StillWanted
