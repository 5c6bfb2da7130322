"""The Celery application of a worker: settings in, an app out that spawned children can rebuild."""

import importlib
import os
import signal
from functools import cached_property
from types import FrameType
from typing import TYPE_CHECKING, Any

import billiard
from celery import Celery, current_app, signals
from celery.loaders.app import AppLoader

from service.queue import celery_config
from service.settings import Settings

if TYPE_CHECKING:
    from workers.workshop import Workshop


class Loader(AppLoader):  # type: ignore[misc]
    """Imports task modules by name alone: Celery's own loader looks into the working directory first."""

    def import_from_cwd(self, module: str, imp: Any = None, package: str | None = None) -> Any:
        return importlib.import_module(module, package)


class WorkerApp(Celery):  # type: ignore[misc]
    """A Celery app whose configuration carries the settings: a spawned child is given nothing else."""

    @cached_property
    def settings(self) -> Settings:
        return Settings.model_validate(self.conf["latentmill_settings"])

    @cached_property
    def workshop(self) -> "Workshop":
        """What tasks work with. Made in the child: it loads torch, which the parent never needs."""
        from workers.workshop import Workshop

        return Workshop(
            self.settings,
            worker=self.conf["latentmill_worker"],
            device=self.conf["latentmill_device"],
            child=getattr(billiard.current_process(), "index", 0),
        )


def create_worker(settings: Settings, *, name: str, device: str) -> WorkerApp:
    """The Celery app of the worker `name`, whose children use a device of this kind."""
    app = WorkerApp("latentmill", loader="workers.app:Loader", include=["workers.tasks"])
    app.conf.update(
        celery_config(settings),
        latentmill_settings=settings.model_dump(mode="json", exclude={"keys"}),
        latentmill_worker=name,
        latentmill_device=device,
    )
    return app


@signals.worker_shutting_down.connect
def _ask_children_to_hand_back(**_: Any) -> None:
    """On a warm shutdown: what children hold goes back to the queue after the batch in hand, and counts no attempt."""
    for child in billiard.active_children():
        os.kill(child.pid, signal.SIGUSR2)


@signals.worker_process_init.connect
def _prepare_child(**_: Any) -> None:
    workshop = current_app.workshop

    def hand_back(number: int, frame: FrameType | None) -> None:
        workshop.ending.set()

    signal.signal(signal.SIGUSR2, hand_back)
