"""The Celery tasks, one for each kind of work item. A message carries the item's id; `workshop.py` does the rest."""

from typing import Any

from celery import shared_task


@shared_task(bind=True, name="latentmill.inspect")
def inspect_model(task: Any, item_id: str) -> None:
    """Open an uploaded bundle, try it and measure its executions."""
    task.app.workshop.perform(item_id)


@shared_task(bind=True, name="latentmill.read")
def read_dataset(task: Any, item_id: str) -> None:
    """Turn an uploaded file into rows."""
    task.app.workshop.perform(item_id)


@shared_task(bind=True, name="latentmill.encode")
def encode_dataset(task: Any, item_id: str) -> None:
    """Encode a dataset's rows under a model."""
    task.app.workshop.perform(item_id)


@shared_task(bind=True, name="latentmill.fit")
def fit_posterior(task: Any, item_id: str) -> None:
    """Fit a density to an encoding."""
    task.app.workshop.perform(item_id)


@shared_task(bind=True, name="latentmill.report")
def measure_candidates(task: Any, item_id: str) -> None:
    """Measure the candidates of a report and recommend one."""
    task.app.workshop.perform(item_id)


@shared_task(bind=True, name="latentmill.shard")
def generate_shard(task: Any, item_id: str) -> None:
    """Generate one range of a job's rows."""
    task.app.workshop.perform(item_id)


@shared_task(bind=True, name="latentmill.finalize")
def finalize_job(task: Any, item_id: str) -> None:
    """Write a job's manifest, checksums and card."""
    task.app.workshop.perform(item_id)


@shared_task(bind=True, name="latentmill.preview")
def show_preview(task: Any, item_id: str) -> None:
    """Make a few rows that somebody waits for."""
    task.app.workshop.perform(item_id)
