"""Beat: small loops, the sweep every few seconds, the collector and retention beside it; several are harmless."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

from latentmill.errors import LatentmillError
from service.database import Database
from service.garbage import Collector
from service.outcomes import Outcomes
from service.queue import Queue
from service.retention import delete_expired
from service.settings import Settings
from service.storage import open_storage
from service.work.outages import Outages
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
    storage = open_storage(settings)
    outcomes = Outcomes(storage, settings)
    outages = Outages(settings.work)
    owner = f"{socket.gethostname()}/{os.getpid()}"
    collector = Collector(database, storage, settings, owner=owner)
    # On threads of their own: a look through many files, or one on a slow disk, must not hold the sweep up.
    beside: list[tuple[str, Callable[[], object], float]] = [
        ("collector", lambda: collector.collect(ending.is_set), settings.storage.collect_seconds),
        (
            "retention",
            lambda: delete_expired(database, outcomes, settings, ending.is_set),
            settings.retention.look_seconds,
        ),
    ]
    threads = [
        threading.Thread(target=_repeat, args=(name, act, ending, seconds), name=name) for name, act, seconds in beside
    ]
    for thread in threads:
        thread.start()
    _repeat(
        "sweep",
        lambda: sweep(database, publisher, outcomes, settings, owner=owner, outages=outages),
        ending,
        settings.work.sweep_seconds,
    )
    for thread in threads:
        thread.join()
    publisher.close()
    queue.close()
    database.dispose()


def _repeat(name: str, act: Callable[[], object], ending: threading.Event, seconds: float) -> None:
    """Act every so many seconds until `ending` is set; an error is logged, and the next turn tries again."""
    while not ending.is_set():
        try:
            act()
        except LatentmillError as error:
            logger.warning("%s: %s", name, error.detail)
        except Exception:
            # A defect in one turn must not end the loop that everything else depends on.
            logger.exception("%s", name)
        ending.wait(seconds)
