"""What a worker's child works with, and the frame around every task: claim, watch, work, record what came of it."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.numpy import load as load_tensors
from safetensors.numpy import load_file as load_tensor_file
from sqlalchemy.orm import Session

from latentmill.errors import (
    DatabaseFault,
    Internal,
    LatentmillError,
    OutOfMemory,
    StorageFault,
    StorageFull,
    Unavailable,
)
from latentmill.specs import Execution
from service.database import Database
from service.jobs.sources import FitSource
from service.logs import about
from service.outcomes import Outcomes
from service.queue import Queue
from service.settings import Settings
from service.storage import open_storage, room_in
from service.work import Claim, FenceLost, Heartbeat, Kind, Stopped, claim, hand_back, siblings
from service.work.publisher import Publisher
from workers.devices import DeviceKind, ModelCache, is_out_of_memory
from workers.disk import is_disk_full
from workers.models import BundleLimits, Vae, load_vae, open_bundle
from workers.posteriors import Density, density_of
from workers.recent import RecentlyUsed
from workers.sandbox.sandbox import Sandbox
from workers.scratch import Scratch
from workers.steps import STEPS

log = logging.getLogger("latentmill.workers")

RETRY_SECONDS = 0.5  # between two attempts to write while the database is away

FILLING: frozenset[Kind] = frozenset({"read", "encode", "report", "shard"})  # a disk, while they go on

T = TypeVar("T")


class HandBack(Exception):
    """The worker shuts down; what is in hand goes back to the queue."""


class Workshop:
    """The database, the files, the models in memory: made once in each child process."""

    def __init__(self, settings: Settings, *, owner: str, device: DeviceKind, child: int) -> None:
        self.settings = settings
        self.device = device
        self.threads = settings.worker.threads or max(1, (os.cpu_count() or 1) // settings.worker.slots)
        self.owner = owner
        self._everyones = Database(settings)
        self.database = self._everyones  # while an item is in hand: as its tenant sees it
        self.storage = open_storage(settings)
        self.outcomes = Outcomes(self.storage, settings)
        self.publisher = Publisher(self._everyones, Queue(settings), settings)
        self.scratch = Scratch(settings.scratch_dir, room_in(settings, settings.scratch_dir))
        self.sandbox = Sandbox(settings.data_dir / "scratch" / "torch", preload=settings.sandbox.preload)
        self.ending = threading.Event()  # set at a warm shutdown
        limits = settings.limits
        self.bundle_limits = BundleLimits(
            parameters=limits.parameters,
            latent_size=limits.latent_size,
            graph_bytes=limits.graph_bytes,
            nodes=limits.graph_nodes,
        )
        self._models = ModelCache(settings.worker.model_cache_bytes)
        self._densities: RecentlyUsed[str, Density] = RecentlyUsed(settings.worker.density_cache_bytes)
        if device == "cuda":
            torch.cuda.set_device(child % torch.cuda.device_count())  # one process for each GPU

    def perform(self, item_id: str) -> None:
        """Do the work item, if it is still to be done, and have published what comes next."""
        try:
            self.database = self._everyones
            claimed = self._claimed(item_id)
            if claimed is None:
                log.info("%s: nothing to claim", item_id)  # a second or a late message
                return
            self.database = self._everyones.on_behalf_of(claimed.tenant_id, claimed.request_id)
            with about(request_id=claimed.request_id, tenant=claimed.tenant_id, item=claimed.item_id):
                log.info("%s %s (fence %d)", claimed.kind, claimed.subject_id, claimed.fence)
                began = time.monotonic()
                self._attempt(claimed)
                log.info("%s %s: %.2f s", claimed.kind, claimed.subject_id, time.monotonic() - began)
        except FenceLost as lost:
            log.warning("%s", lost)
        except DatabaseFault as fault:
            # Nothing can be recorded now. The lease runs out, and the sweep hands the item to someone else.
            log.warning("%s is left to the sweep: %s", item_id, fault.detail)
        self.publisher.nudge()

    def _claimed(self, item_id: str) -> Claim | None:
        tried = False

        def take(session: Session) -> Claim | None:
            nonlocal tried
            # A commit that was answered by a fault may stand: the item is then ours, and nobody else would do it.
            again, tried = tried, True
            seconds = self.settings.work.lease_seconds
            return claim(session, item_id, owner=self.owner, lease_seconds=seconds, again=again)

        return self._written(take)

    def _attempt(self, claimed: Claim) -> None:
        """Do the item and record every way that it can end."""
        heartbeat = self._heartbeat(claimed)
        try:
            with heartbeat:
                STEPS[claimed.kind](self, claimed, self._check(heartbeat, claimed.kind))
        except FenceLost:
            raise
        except HandBack:
            self._written(lambda session: hand_back(session, claimed))
        except SystemExit:
            self._let_go(claimed, heartbeat)
            raise
        except Stopped:
            self._written(lambda session: self.outcomes.stopped(session, claimed))
        except Unavailable as fault:
            self._wait_out(claimed, fault)
        except LatentmillError as error:
            self._fail(claimed, error)
        except Exception as error:
            if is_disk_full(error):
                self._wait_out(claimed, StorageFull(f"The disk filled up at a {claimed.kind}"))
                return
            if is_out_of_memory(error):
                self._fail(claimed, OutOfMemory(f"A worker ran out of memory at this {claimed.kind}"))
                return
            log.exception("%s %s", claimed.kind, claimed.item_id)
            self._fail(claimed, Internal(f"{claimed.kind} failed: {type(error).__name__}: {error}"))

    def _heartbeat(self, claimed: Claim) -> Heartbeat:
        limits = self.settings.time_limits
        seconds, name = limits.of(claimed.kind), limits.name_of(claimed.kind)
        return Heartbeat(
            self.database,
            claimed,
            self.settings.work,
            limit_seconds=seconds,
            limit_setting=name,
            grace_seconds=limits.margin_seconds / 2,
            give_up=lambda error: self._fail(claimed, error),
        )

    def _let_go(self, claimed: Claim, heartbeat: Heartbeat) -> None:
        """This child is told to end itself, by SIGTERM: as when a whole process group is, or by Celery, where it has
        not looked at its clock for too long. Handed back, such an item would go round for ever."""
        with suppress(FenceLost, DatabaseFault), self.database.writing() as session:
            if (error := heartbeat.overtime()) is not None:
                self.outcomes.given_up(session, claimed, error.problem(claimed.request_id))
            else:
                hand_back(session, claimed)

    def require_room(self, size_bytes: int) -> None:
        """Raises StorageFull, which is waited out, unless so many bytes can be made here and stored."""
        self.scratch.room.require(size_bytes)
        self.storage.require_room(size_bytes)

    def _check(self, heartbeat: Heartbeat, kind: Kind) -> Callable[[], None]:
        def check() -> None:
            heartbeat.check()
            if self.ending.is_set():
                raise HandBack
            if kind in FILLING:
                self.scratch.room.require_to_go_on()
                self.storage.require_to_go_on()

        return check

    def _wait_out(self, claimed: Claim, fault: Unavailable) -> None:
        """A fault of the surroundings counts as no attempt: the item waits, longer each time, and says why."""
        delay_seconds = claimed.wait_seconds(self.settings.work.longest_delay_seconds)
        log.warning("%s %s waits %g s: %s", claimed.kind, claimed.item_id, delay_seconds, fault.detail)
        problem = fault.problem(claimed.request_id)

        def wait(session: Session) -> None:
            hand_back(session, claimed, waiting=problem, delay_seconds=delay_seconds, counts="waits")
            if claimed.kind == "shard" and isinstance(fault, StorageFull | StorageFault):
                siblings.keep_waiting(session, claimed, waiting=problem, delay_seconds=delay_seconds)

        self._written(wait)

    def _fail(self, claimed: Claim, error: LatentmillError) -> None:
        """An error of the model or the data ends the item at once; a device out of memory gets another attempt."""
        attempts = self.settings.work.out_of_memory_attempts
        problem = error.problem(claimed.request_id)
        if is_out_of_memory(error):
            self._densities.clear()
            self._models.clear()  # the next attempt, here or at another item, has all the memory there is
        if is_out_of_memory(error) and claimed.out_of_memory + 1 < attempts:
            again = partial(hand_back, waiting=problem, delay_seconds=1, counts="out_of_memory")
            self._written(lambda session: again(session, claimed))
        else:
            self._written(lambda session: self.outcomes.given_up(session, claimed, problem))

    def _written(self, change: Callable[[Session], T]) -> T:
        """What `change` gives, in a transaction of its own. A database that is away is waited for, however long.

        Nothing else can be done without it, and left to the sweep the item would count as lost, although nobody was.
        """
        while True:
            try:
                with self.database.writing() as session:
                    return change(session)
            except DatabaseFault:
                if self.ending.wait(RETRY_SECONDS):
                    raise

    @contextmanager
    def publishing(self, *keys: str) -> Iterator[Session]:
        """The transaction that publishes files just stored; when it does not commit, they are deleted again.

        Nobody else can have put or named these keys: each holds the fence of the attempt that stored it.
        """
        committing = False
        try:
            with self.database.writing() as session:
                yield session
                session.flush()
                committing = True
        except BaseException:
            # A commit that was interrupted, by a fault or a signal, may stand all the same: then the files stay.
            if not committing:
                for key in keys:
                    self.storage.delete(key)
            raise

    def vae(self, key: str, digest: str, execution: Execution) -> Vae:
        """The model stored at `key`, loaded for `execution`; from memory where it was used lately."""

        def load() -> Vae:
            with self.storage.as_file(key) as path:
                bundle = open_bundle(path, limits=self.bundle_limits, sha256=digest)
                return load_vae(bundle, device=self.device, execution=execution, inspected=True)

        # onnxruntime's threads are the session's own; torch's are the process's.
        own = f"/{execution.threads}" if execution.engine == "onnx" else ""
        return self._models.get(f"{digest}/{execution.dtype}/{execution.layout}{own}", self.device, load)

    def density(self, source: FitSource) -> Density:
        """The density of a fit; from memory where it was used lately, for it may have millions of components."""

        def load() -> tuple[Density, int]:
            if source.parameters is not None:
                parameters = load_tensors(source.parameters)
            else:
                with self.storage.as_file(source.key or "") as path:
                    parameters = load_tensor_file(path)
            return density_of(source.family, parameters), sum(array.nbytes for array in parameters.values())

        return self._densities.get(f"{source.family.digest()}/{source.digest}", load)

    @contextmanager
    def optional_file(self, key: str | None) -> Iterator[Path | None]:
        """The stored file on this machine's disk; None where there is none."""
        if key is None:
            yield None
            return
        with self.storage.as_file(key) as path:
            yield path
