"""Beat: a small loop that runs the sweep every few seconds; several of them are harmless."""

import logging
import os
import signal
import socket
import threading
from types import FrameType

from latentmill.errors import LatentmillError
from service.database import Database
from service.outcomes import Outcomes
from service.queue import Queue
from service.settings import Settings
from service.storage import open_storage
from service.work.publisher import Publisher
from service.work.sweep import sweep

logger = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Sweep until SIGTERM or SIGINT."""
    ending = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ending.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    sweep_until(ending, settings)


def sweep_until(ending: threading.Event, settings: Settings) -> None:
    """Sweep every `sweep_seconds` until `ending` is set; an error is logged and the next sweep tries again."""
    database, queue = Database(settings), Queue(settings)
    publisher = Publisher(database, queue, settings)
    outcomes = Outcomes(open_storage(settings), settings)
    owner = f"{socket.gethostname()}/{os.getpid()}"
    while not ending.is_set():
        try:
            sweep(database, publisher, outcomes, settings, owner=owner)
        except LatentmillError as error:
            logger.warning("sweep: %s", error.detail)
        except Exception:
            # A defect in one sweep must not end the loop that everything else depends on.
            logger.exception("sweep")
        ending.wait(settings.work.sweep_seconds)
    publisher.close()
    queue.close()
    database.dispose()
