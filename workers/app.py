"""The Celery application of a worker: settings in, an app out that spawned children can rebuild."""

import importlib
import os
import secrets
import signal
import threading
from contextlib import suppress
from functools import cached_property
from types import FrameType
from typing import TYPE_CHECKING, Any

import billiard
from celery import Celery, current_app, signals
from celery.app.log import Logging
from celery.apps.worker import Worker
from celery.loaders.app import AppLoader

from service import logs
from service.queue import celery_config
from service.settings import Settings
from workers.children import holder_name
from workers.loading import loading
from workers.memory import child_bytes

if TYPE_CHECKING:
    from workers.workshop import Workshop

GOODBYE_SECONDS = 0.1
PUBLISHING_SECONDS = 1.0  # given to what a child publishes last
CHILD_START_SECONDS = 120.0  # a child loads torch, on a cold disk too; Celery would give it four


class Loader(AppLoader):  # type: ignore[misc]
    """Imports task modules by name alone: Celery's own loader looks into the working directory first."""

    def import_from_cwd(self, module: str, imp: Any = None, package: str | None = None) -> Any:
        return importlib.import_module(module, package)


class Logs(Logging):  # type: ignore[misc]
    """Our log lines in place of Celery's, in the worker and in each of its children."""

    def setup_logging_subsystem(self, *_: Any, **__: Any) -> bool:
        logs.configure(self.app.settings, process=self.app.conf["latentmill_worker"])
        return True


class WorkerApp(Celery):  # type: ignore[misc]
    """A Celery app whose configuration carries the settings: a spawned child is given nothing else."""

    log_cls = Logs

    @cached_property
    def settings(self) -> Settings:
        return Settings.model_validate(self.conf["latentmill_settings"])

    @cached_property
    def workshop(self) -> "Workshop":
        """What tasks work with. Made in the child: it loads torch, which the parent never needs."""
        with loading():
            from workers.workshop import Workshop

        child = billiard.current_process()
        return Workshop(
            self.settings,
            owner=holder_name(self.conf["latentmill_run"], child),
            device=self.conf["latentmill_device"],
            child=getattr(child, "index", 0),
        )


def create_worker(settings: Settings, *, name: str, device: str, takes_uploads: bool = False) -> WorkerApp:
    """The Celery app of the worker `name`, whose children use a device of this kind."""
    app = WorkerApp("latentmill", loader="workers.app:Loader", include=["workers.tasks"])
    app.conf.update(
        celery_config(settings),
        worker_pool="workers.children:Pool",
        # A forked child inherits SQLite's notes of the locks that a thread of its parent held at that moment, and waits
        # for ever for one that nobody holds; and it cannot use CUDA.
        worker_pool_start_method="spawn",
        worker_proc_alive_timeout=CHILD_START_SECONDS,
        worker_max_memory_per_child=child_bytes(settings.worker) // 1024,
        latentmill_settings=settings.model_dump(mode="json", exclude={"keys"}),
        latentmill_worker=name,
        latentmill_run=f"{name}/{secrets.token_hex(4)}",  # of two workers that were given one name too
        latentmill_device=device,
        latentmill_takes_uploads=takes_uploads,
    )
    return app


def hand_back_on_shutdown(worker: Worker) -> None:
    """Have what children hold go back to the queue at a warm shutdown: after the batch in hand, as no attempt."""

    def ask_children(**_: Any) -> None:
        # First: a child that is still starting holds nothing and dies of the signal; it must not be replaced.
        if worker.pool is not None:
            worker.pool.close()
            worker.pool.did_start_ok = lambda: True  # nor be an error, where the worker's loop begins only now
        for child in billiard.active_children():
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGUSR2)

    signals.worker_shutting_down.connect(ask_children, weak=False)


@signals.worker_process_init.connect
def _prepare_child(**_: Any) -> None:
    workshop = current_app.workshop

    def hand_back(number: int, frame: FrameType | None) -> None:
        workshop.ending.set()

    signal.signal(signal.SIGUSR2, hand_back)
    if current_app.conf["latentmill_takes_uploads"]:
        workshop.sandbox.prepare()


@signals.worker_process_shutdown.connect
def _end_soon(exitcode: int, **_: Any) -> None:
    if (workshop := vars(current_app._get_current_object()).get("workshop")) is not None:  # not where it died at birth
        # What this child was to have published would wait for the next sweep.
        workshop.publisher.close(PUBLISHING_SECONDS)
    # The pool has a child that has said goodbye sleep for another second, and its parent wait for it.
    threading.Timer(GOODBYE_SECONDS, os._exit, [exitcode]).start()
