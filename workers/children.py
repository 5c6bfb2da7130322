"""The processes of a worker: what one is called as a holder, and the end of its leases when it dies."""

import logging
import threading
from typing import Any

from billiard.pool import EX_OK, EX_RECYCLE
from celery.concurrency.asynpool import AsynPool
from celery.concurrency.prefork import TaskPool

from latentmill.errors import LatentmillError
from service.database import open_database
from service.settings import Settings
from service.work import end_leases

log = logging.getLogger("latentmill.workers")

SECOND_LOOK_SECONDS = 0.2


def holder_name(run: str, child: Any) -> str:
    """What a child process of this run of a worker claims as: never the name of another, also where its pid is."""
    number = child.name.rpartition("-")[2]  # the pool counts its processes and begins no number again
    return f"{run}.{number}/{child.pid}"


class Processes(AsynPool):  # type: ignore[misc]
    """Celery's processes. Each end is seen at once, and not only by the look that Celery takes every five seconds."""

    def _event_process_exit(self, hub: Any, child: Any) -> None:
        # A process closes its files, which is what wakes us, a moment before it can be waited for.
        super()._event_process_exit(hub, child)
        if child in self._pool:
            hub.call_later(SECOND_LOOK_SECONDS, self.maintain_pool)


class Pool(TaskPool):  # type: ignore[misc]
    """Celery's pool of processes, which does not let items wait until the lease of a killed process has run out."""

    Pool = Processes

    def register_with_event_loop(self, loop: Any) -> None:
        """Celery does so again after each loss of the broker, and forgets each time who listens."""
        super().register_with_event_loop(loop)
        forget = self._pool.on_process_down

        def ended(child: Any) -> None:
            forget(child)
            # One that ends by itself, worn out or at a shutdown, has given everything back.
            if child.exitcode not in (EX_OK, EX_RECYCLE):
                holder = holder_name(self.app.conf["latentmill_run"], child)
                # The loop that serves the other processes must not wait for the database.
                threading.Thread(target=release, args=(self.app.settings, holder), daemon=True).start()

        self._pool.on_process_down = ended


def release(settings: Settings, holder: str) -> None:
    """End the leases of a process that is dead. Where the database is away they run out, as they would anyhow."""
    try:
        with open_database(settings) as database, database.writing() as session:
            ended = end_leases(session, owner=holder)
    except LatentmillError as fault:
        log.warning("what %s held waits for the end of its lease: %s", holder, fault.detail)
    else:
        log.info("%s is dead; leases that end with it: %d", holder, ended)
