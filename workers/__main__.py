"""`python -m workers compute` and `python -m workers prompt`: one worker, its presence announced in the database."""

import argparse
import logging
import os
import socket
import sys
import threading
from functools import partial
from pathlib import Path

from latentmill.errors import DatabaseFault, LatentmillError
from service import logs
from service.database import Database
from service.settings import Settings
from service.work.workers import announce, depart
from workers.app import create_worker, hand_back_on_shutdown

log = logging.getLogger("latentmill.workers")


def main() -> int:
    """Run a worker until it is asked to end."""
    parser = argparse.ArgumentParser(prog="latentmill worker", description=__doc__)
    parser.add_argument(
        "role", choices=["compute", "prompt"], help="compute: shards, encodings, fits; prompt: the rest"
    )
    parser.add_argument("--name", help="unique among the workers; default: role, host and process id")
    arguments = parser.parse_args()
    # Threads of OpenMP that spin while they wait take the cores from the pipeline's other stages and from whatever else
    # runs here: on two busy cores decoding was ten times slower. Children read this when they load torch.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Without a workspace of fixed sizes cuBLAS, and so cuDNN's recurrent layers, may give other bits from run to run.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    settings = Settings()
    # Where the compiler of torch, loaded when a bundle's shapes are tried, would leave its folder for ever.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(settings.data_dir / "scratch" / "torch"))
    try:
        device = resolve_device(settings.worker.device)
    except LatentmillError as error:
        sys.stderr.write(f"{error.detail}\n")
        return 1
    name = arguments.name or f"{arguments.role}@{socket.gethostname()}-{os.getpid()}"
    logs.configure(settings, process=name)
    slots = settings.worker.slots if arguments.role == "compute" else 1
    queues = ["compute", f"compute.{device}"] if arguments.role == "compute" else ["prompt"]
    app = create_worker(settings, name=name, device=device, takes_uploads=arguments.role == "prompt")
    with Presence(settings, name=name, device=device, queues=queues, slots=slots):
        worker = app.Worker(
            hostname=name,
            queues=[f"latentmill.{queue}" for queue in queues],
            concurrency=slots,
            loglevel="INFO",
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )
        hand_back_on_shutdown(worker)
        worker.start()
    return int(worker.exitcode or 0)


def resolve_device(setting: str) -> str:
    """The device kind that `auto` means here. torch, which takes seconds to load, is asked only where a GPU may be."""
    if setting == "auto" and sys.platform == "linux" and not Path("/dev/nvidiactl").exists():
        return "cpu"
    from workers.devices import pick_device

    return pick_device(setting)


class Presence:
    """Says every few seconds that this worker lives, and that it left when it ends."""

    def __init__(self, settings: Settings, *, name: str, device: str, queues: list[str], slots: int) -> None:
        self._database = Database(settings)
        self._name = name
        self._announce = partial(announce, name=name, device_kind=device, queues=queues, slots=slots)
        self._period_seconds = settings.work.worker_seen_seconds / 4
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(timeout=5)
        try:
            with self._database.writing() as session:
                depart(session, name=self._name)
        except DatabaseFault as fault:
            log.warning("leaving without a word: %s", fault.detail)
        self._database.dispose()

    def _run(self) -> None:
        while True:
            try:
                with self._database.writing() as session:
                    self._announce(session)
            except DatabaseFault as fault:
                log.warning("not announced: %s", fault.detail)
            if self._ending.wait(self._period_seconds):
                return


if __name__ == "__main__":
    sys.exit(main())
