"""A running stack that is about to be broken: its jobs, its database and its files, seen without asking a process."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from sqlalchemy import func, select

from latentmill import Client
from latentmill.errors import DatabaseFault
from latentmill.resources.jobs import Job
from latentmill.stack import Stack
from service.database import Database
from service.garbage.scratch import FOLDER
from service.jobs.states import lock
from service.settings import DatabaseSettings, Settings
from service.tables import JobRow, ShardRow, WorkItemRow
from tests.acceptance.conftest import DEMO_BUNDLE
from tests.files import files_in
from tests.postgres import PostgresServer

SHARDS, SHARD_ROWS = 40, 500
LONGEST_SECONDS = 120.0  # that anything here may take on a crowded machine
SHORT = {  # seconds: what a killed process held is taken back soon
    "LATENTMILL_WORK__LEASE_SECONDS": "3",
    "LATENTMILL_WORK__HEARTBEAT_SECONDS": "0.4",
    "LATENTMILL_WORK__STOP_POLL_SECONDS": "0.1",
    "LATENTMILL_WORK__SWEEP_SECONDS": "0.3",
    "LATENTMILL_WORK__LOST_DELAY_SECONDS": "0.1",
    "LATENTMILL_WORK__REPUBLISH_SECONDS": "2",
    "LATENTMILL_DATABASE__BUSY_SECONDS": "2",
    "LATENTMILL_STORAGE__COLLECT_SECONDS": "0.5",
    "LATENTMILL_STORAGE__UPLOAD_GRACE_SECONDS": "3",
    "LATENTMILL_SANDBOX__PRELOAD": "false",
}
LEASE_SECONDS = float(SHORT["LATENTMILL_WORK__LEASE_SECONDS"])
BUSY_SECONDS = float(SHORT["LATENTMILL_DATABASE__BUSY_SECONDS"])

Found = TypeVar("Found")


class Mill:
    """The stack, a client of it, and what its 40 shards are when nobody disturbs them."""

    def __init__(
        self,
        stack: Stack,
        postgres: PostgresServer | None = None,
        database_url: str | None = None,
        shard_rows: int = SHARD_ROWS,
    ) -> None:
        self.stack = stack
        self.shard_rows = shard_rows
        self.postgres = postgres
        self.settings = Settings(data_dir=stack.data_dir, database=DatabaseSettings(url=database_url))
        self.database = Database(self.settings)
        self.client = Client(url=stack.url, api_key=stack.api_key)
        self.model = self.client.models.add(DEMO_BUNDLE).wait(LONGEST_SECONDS)
        self.undisturbed = sha256_of(self.submit("nothing").wait(LONGEST_SECONDS))

    @property
    def kind(self) -> str:
        """sqlite or postgresql"""
        return self.database.engine.dialect.name

    def submit(self, fault: str, *, shards: int = SHARDS) -> Job:
        """The job that is to be disturbed: always the same one, or the first shards of it."""
        body = {
            "strategy": {"kind": "prior"},
            "shard_rows": self.shard_rows,
            "rows": shards * self.shard_rows,
            "seed": 5,
        }
        return self.client.jobs.create(self.model, **body, metadata={"fault": fault})

    def shards_done(self, job: Job) -> int:
        """How many shards are committed."""
        with self.database.reading() as session:
            done = select(func.count()).select_from(ShardRow).where(ShardRow.job_id == job.id)
            return session.execute(done).scalar_one()

    def wait_moment(self, job: Job, chance: random.Random) -> bool:
        """Wait until a random moment of the job that leaves some of its shards to come; False if it is over by then."""
        moment = chance.randrange(SHARDS - 10)
        until(lambda: self.shards_done(job) >= moment, f"{job.id} has {moment} shards")
        time.sleep(chance.uniform(0, 0.05))  # anywhere within a shard, and not just after a commit
        return not seen(lambda: self.is_over(job))

    def is_over(self, job: Job) -> bool:
        """Whether the job has ended."""
        with self.database.reading() as session:
            return session.execute(select(JobRow.finished_at).where(JobRow.id == job.id)).scalar_one() is not None

    def lost(self, subject_id: str) -> int:
        """How often a lease on an item of this resource ran out."""
        with self.database.reading() as session:
            lost = select(func.coalesce(func.sum(WorkItemRow.lost), 0)).where(WorkItemRow.subject_id == subject_id)
            return int(session.execute(lost).scalar_one())

    @contextmanager
    def nobody_commits(self, job: Job) -> Iterator[None]:
        """Holds what every change of the job needs: its row's lock on Postgres, everybody's on SQLite."""
        with self.database.writing() as session:
            lock(session, job.id)
            yield

    def objects(self, folder: str = "") -> set[str]:
        """The keys of the files in storage."""
        within = f"{folder}/" if folder else ""
        keys = {within + name for name in files_in(self.settings.files_dir / folder)}
        return {key for key in keys if not key.startswith(".incoming")}

    def half_made(self) -> set[str]:
        """Files that are on their way into storage, and folders in which something is being made."""
        scratch = {path.name for path in self.settings.scratch_dir.glob("*/*")}
        incoming = {path.name for path in (self.settings.files_dir / ".incoming").iterdir()}
        return incoming | {name for name in scratch if FOLDER.fullmatch(name)}

    def close(self) -> None:
        self.client.close()
        self.database.dispose()


def sha256_of(job: Job) -> list[str]:
    """The digests of the job's shards, as its manifest says."""
    return [shard["sha256"] for shard in job.manifest()["shards"]]


def until(look: Callable[[], Found], what: str, seconds: float = LONGEST_SECONDS) -> Found:
    """What `look` gives, once that is true; the database may be away meanwhile."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(DatabaseFault):
            if found := look():
                return found
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain until {what}"
        time.sleep(0.003)


def seen(look: Callable[[], Found]) -> Found:
    """What `look` gives, whatever it is, as soon as the database answers."""
    (found,) = until(lambda: (look(),), "the database answers")
    return found
