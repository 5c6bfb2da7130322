"""The collector deletes what nobody can need, and never what a live attempt may still commit, on both databases."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import select, update

from latentmill.errors import DataError
from latentmill.specs import JobRequest
from service import work
from service.database import Database, database_now
from service.garbage import Collector
from service.garbage.rule import judge
from service.jobs import finalizing, shards
from service.jobs import operations as jobs
from service.models import operations as models
from service.outcomes import Outcomes
from service.settings import Settings, StorageSettings
from service.storage import StoredFile, open_storage
from service.tables import DatasetRow, EncodingRow, LockRow, ShardRow, WorkItemRow
from service.work import Claim, FenceLost, locks
from service.work.sweep import expire_leases
from tests.service.steps import EXECUTION, Server, Worker

GRACE_SECONDS = 60.0
ON_ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
BYTES = b"what a shard of these rows always is"


@pytest.fixture
def any_settings(any_settings: Settings) -> Settings:
    return any_settings.model_copy(update={"storage": StorageSettings(upload_grace_seconds=GRACE_SECONDS)})


@pytest.fixture
def worker(any_settings: Settings, any_database: Database, tenant: str) -> Worker:
    storage = open_storage(any_settings)
    services = SimpleNamespace(outcomes=Outcomes(storage, any_settings), storage=storage, settings=any_settings)
    return Worker(Server("", 0, services, any_database, []), tenant)


@pytest.fixture
def collector(worker: Worker, any_settings: Settings) -> Collector:
    return Collector(worker.server.database, worker.storage, any_settings)


@pytest.fixture
def model(worker: Worker) -> str:
    """A ready model."""
    key = f"{worker.tenant_id}/uploads/upl_model"
    worker.storage.put_bytes(key, b"a bundle")
    bundle = models.Bundle(key, "digits.vae.zip", 8, hashlib.sha256(b"a bundle").hexdigest())
    with worker.server.database.writing() as session:
        model_id = models.add(session, worker.tenant_id, bundle, "digits", {}, None)[0].id
    worker.inspect()
    return model_id


@dataclass
class Life:
    """One shard's attempts, step by step; between any two steps all that was ever listed is judged anew."""

    worker: Worker
    settings: Settings
    job_id: str
    held: dict[str, Claim] = field(default_factory=dict)
    listed: dict[str, StoredFile] = field(default_factory=dict)
    condemned: dict[str, int] = field(default_factory=dict)  # key -> the step at which it was first found garbage
    steps: int = 0

    @property
    def database(self) -> Database:
        return self.worker.server.database

    def step(self, name: str) -> None:
        action, _, who = name.partition(" ")
        getattr(self, action)(*([who] if who else []))
        self.steps += 1
        self.look()

    def look(self) -> None:
        """A collector that listed at any step before may judge now, and delete at any step after."""
        self.listed |= {file.key: file for file in self.worker.storage.list(f"{self.worker.tenant_id}/jobs")}
        with self.database.reading() as session:
            for file in judge(session, list(self.listed.values()), self.settings).garbage:
                self.condemned.setdefault(file.key, self.steps)

    def key(self, who: str) -> str:
        held = self.held[who]
        sha256 = hashlib.sha256(BYTES).hexdigest()
        return f"{held.tenant_id}/jobs/{self.job_id}/{held.index}-{held.fence}-{sha256}"

    def claim(self, who: str) -> None:
        with self.database.writing() as session:
            session.execute(update(WorkItemRow).values(not_before=database_now(session)))
        self.held[who] = self.worker.take("shard")
        with self.database.writing() as session:
            shards.shard_work_of(session, self.held[who])

    def put(self, who: str) -> None:
        self.worker.storage.put_bytes(self.key(who), BYTES)

    def commit(self, who: str) -> None:
        with self.database.writing() as session:
            shards.commit_shard(
                session, self.held[who], key=self.key(who), name="data", bytes=len(BYTES), sha256="0" * 64,
                execution=EXECUTION, rows=100,
            )  # fmt: skip
        assert self.key(who) not in self.condemned, f"deleted at step {self.condemned[self.key(who)]}, committed later"

    def fenced(self, who: str) -> None:
        """A commit that comes too late, of a worker that is killed before it can delete what it stored."""
        with pytest.raises(FenceLost):
            self.commit(who)

    def vanish(self, who: str) -> None:
        with self.database.writing() as session:
            past = database_now(session) - timedelta(seconds=5)
            session.execute(
                update(WorkItemRow).where(WorkItemRow.id == self.held[who].item_id).values(lease_until=past)
            )
        expire_leases(self.database, self.worker.outcomes, self.settings.work)
        with self.database.writing() as session:
            self.worker.outcomes.resume(session)

    def back(self, who: str) -> None:
        with self.database.writing() as session:
            work.hand_back(session, self.held[who], waiting=DataError().problem())

    def fail(self, who: str) -> None:
        with self.database.writing() as session:
            shards.fail_job(session, self.held[who], DataError().problem())

    def cancel(self) -> None:
        with self.database.writing() as session:
            jobs.cancel(session, self.worker.tenant_id, self.job_id)

    def retry(self) -> None:
        with self.database.writing() as session:
            jobs.retry(session, self.worker.tenant_id, self.job_id, self.settings)

    def delete(self) -> None:
        """Of an API that is killed between its commit and the files."""
        with self.database.writing() as session:
            jobs.delete(session, self.worker.tenant_id, self.job_id)

    def named(self) -> list[str]:
        with self.database.reading() as session:
            return list(session.execute(select(ShardRow.key).order_by(ShardRow.index)).scalars())

    def stored(self) -> list[str]:
        return [file.key for file in self.worker.storage.list(f"{self.worker.tenant_id}/jobs")]


@pytest.fixture
def life(worker: Worker, any_settings: Settings, model: str) -> Life:
    """A job of two shards: the steps below are of the first, and the second keeps the job going."""
    request = JobRequest.model_validate(
        {"model": model, "strategy": {"kind": "prior"}, "rows": 200, "shard_rows": 100, "seed": 1}
    )
    with worker.server.database.writing() as session:
        job_id = jobs.submit(session, worker.tenant_id, request, any_settings).id
    return Life(worker, any_settings, job_id)


# Who holds the shard: a, then b. Afterwards every file is collected that no row names, but those of the held.
LIVES = {
    "undisturbed": ("claim a, put a, commit a", 0),
    "lost after the put": ("claim a, put a, vanish a, claim b, put b, commit b", 1),
    "a late put of one that was stopped": ("claim a, vanish a, claim b, put b, put a, fenced a, commit b", 1),
    "a put after everything": ("claim a, vanish a, claim b, put b, commit b, put a, fenced a", 1),
    "a fault at the commit": ("claim a, put a, back a, claim b, put b, commit b", 1),
    "lost, and nobody has taken it yet": ("claim a, put a, vanish a", 0),
    "handed back, and nobody has taken it yet": ("claim a, put a, back a", 0),
    "cancelled and tried again": ("claim a, put a, cancel, vanish a, retry, claim b, put b, commit b", 1),
    "cancelled with a put that comes after it": ("claim a, cancel, vanish a, put a, fenced a", 1),
    "tried again while one has not seen its end": (
        "claim a, put a, claim other, fail other, retry, claim b, put b, fenced a, commit b", 1,
    ),
    "failed with a file that is committed": ("claim a, put a, commit a, claim other, put other, fail other", 1),
    "deleted while one is at it": ("claim a, put a, delete, fenced a, put a", 1),
    "deleted with what is committed": ("claim a, put a, commit a, delete", 1),
}  # fmt: skip


@pytest.mark.parametrize("name", LIVES)
def test_no_pass_however_it_is_interleaved_takes_what_is_committed_later(name: str, life: Life, collector: Collector):
    steps, garbage = LIVES[name]
    for step in steps.split(", "):
        life.step(step)
    strays = set(life.stored()) - set(life.named())
    assert strays >= set(life.condemned), "what is named was found to be garbage"
    collected = collector.collect_everything()
    assert collected.deleted == garbage == len(life.condemned)
    assert set(life.stored()) == (strays - set(life.condemned)) | set(life.named())


def test_texts_of_a_finalize_that_was_lost_go_when_another_has_written_them(
    life: Life, worker: Worker, collector: Collector
):
    for step in ("claim a", "put a", "commit a", "claim b", "put b", "commit b"):
        life.step(step)
    folder = f"{worker.tenant_id}/jobs/{life.job_id}"

    def texts(taken: Claim) -> list[finalizing.StoredText]:
        """The three files, stored under keys of this attempt."""
        files = []
        for name in ("README.md", "SHA256SUMS", "manifest.json"):
            files.append(finalizing.StoredText(name, f"{folder}/{hashed(name, taken.fence)}", len(BYTES), "ab" * 32))
            worker.storage.put_bytes(files[-1].key, BYTES)
        return files

    life.held["lost"] = worker.take("finalize")
    lost = texts(life.held["lost"])
    assert collector.collect_everything().deleted == 0, "it may still commit them"
    life.vanish("lost")
    with life.database.writing() as session:
        session.execute(update(WorkItemRow).values(not_before=database_now(session)))
    second = worker.take("finalize")
    written = texts(second)
    assert collector.collect_everything().removed == {"finalize": 3}
    with life.database.writing() as session:
        finalizing.commit_finalize(session, second, files=written)
    texts(life.held["lost"])  # of one that had only been stopped
    assert collector.collect_everything().removed == {"finalize": 3}
    assert set(life.stored()) == {*life.named(), *(file.key for file in written)}
    assert not {file.key for file in lost} & set(life.stored())


def put(worker: Worker, folder: str, name: str, *, age_seconds: float = 0.0, tenant_id: str | None = None) -> str:
    """Store a file of this age; its key."""
    key = f"{tenant_id or worker.tenant_id}/{folder}/{name}"
    worker.storage.put_bytes(key, BYTES)
    with worker.storage.as_file(key) as path:
        os.utime(path, (time.time() - age_seconds,) * 2)
    return key


def hashed(stem: str, fence: int) -> str:
    return f"{stem}-{fence}-{'ab' * 32}"


def test_uploads_that_no_row_names_go_after_their_grace(worker: Worker, collector: Collector, model: str):
    with worker.storage.as_file(f"{worker.tenant_id}/uploads/upl_model") as path:
        os.utime(path, (time.time() - 10 * GRACE_SECONDS,) * 2)
    young = put(worker, "uploads", "upl_young")
    put(worker, "uploads", "upl_old", age_seconds=GRACE_SECONDS + 5)
    assert collector.collect_everything().removed == {"upload": 1}
    assert worker.stored_keys() == [f"{worker.tenant_id}/uploads/upl_model", young]


def test_what_this_database_does_not_know_is_not_taken_for_garbage(worker: Worker, collector: Collector, caplog):
    old = {"age_seconds": GRACE_SECONDS + 5}
    theirs = put(worker, "uploads", "upl_1", tenant_id="ten_of_another_database", **old)
    odd = [put(worker, "previews", "prv_1", **old), put(worker, "jobs", "job_1", **old)]
    young = put(worker, "jobs/job_that_a_backup_lacks", hashed("0", 1))
    put(worker, "jobs/job_that_a_backup_lacks", hashed("1", 1), **old)
    assert collector.collect_everything().removed == {"shard": 1}
    assert {file.key for file in worker.storage.list("")} == {theirs, *odd, young}
    assert "ten_of_another_database" in caplog.text


def test_a_job_that_may_be_tried_again_keeps_what_its_forgotten_items_left(
    life: Life, collector: Collector, any_settings: Settings
):
    """Fences start anew once the items are forgotten: a new attempt may then store a file under the old key."""
    for step in ("claim a", "put a", "cancel", "vanish a"):
        life.step(step)
    long_ago = timedelta(seconds=any_settings.work.keep_finished_seconds * 0.6)
    with life.database.writing() as session:
        items = update(WorkItemRow).where(WorkItemRow.job_id == life.job_id)
        session.execute(items.values(finished_at=database_now(session) - long_ago))
    assert collector.collect_everything().deleted == 0
    life.delete()
    assert collector.collect_everything().removed == {"shard": 1}


@pytest.mark.parametrize(
    ("state", "item_state"), [("failed", "failed"), ("failed", "leased"), ("ready", "done"), ("queued", "leased")]
)
def test_encodings_are_judged_by_their_item_too(
    state: str, item_state: str, worker: Worker, collector: Collector, model: str
):
    dataset = worker.tenant_id
    with worker.server.database.writing() as session:
        now = database_now(session)
        session.add(row := DatasetRow(
            id="dat_1", tenant_id=dataset, name=None, state="ready", warnings=[], metadata_={}, created_at=now,
            request_digest="d", kind="rows", filename="x.npy", size_bytes=1, rows=1, row_shape=[2],
        ))  # fmt: skip
        session.flush()
        session.add(EncodingRow(
            id="enc_1", tenant_id=row.tenant_id, model_id=model, dataset_id=row.id, state=state, warnings=[],
            progress=0.0, created_at=now, key=f"{row.tenant_id}/encodings/enc_1/{hashed('encoding', 2)}",
        ))  # fmt: skip
        item = work.add(session, tenant_id=row.tenant_id, kind="encode", queue="compute", subject_id="enc_1")
        item.fence, item.state = 3, item_state
    files = {fence: put(worker, "encodings/enc_1", hashed("encoding", fence)) for fence in (1, 2, 3)}
    put(worker, "encodings/enc_1", "encoding-of-no-fence")
    collected = collector.collect_everything()
    left = set(files.values()) & set(worker.stored_keys())
    # 2 is named; 3 is of the attempt that may still commit where the item is held.
    assert left == ({files[2], files[3]} if item_state == "leased" else {files[2]})
    assert collected.deleted == 3 - len(left)


@ON_ONE_DATABASE
def test_files_and_folders_in_the_making_go_with_their_process_and_not_before(worker, collector, any_settings):
    """A process that is stopped, even for hours, holds what is its own; one that was killed holds nothing."""
    script = """
import sys
from service.settings import Settings
from service.storage import open_storage, room_in
from workers.scratch import Scratch
from pathlib import Path
settings = Settings(data_dir=Path(sys.argv[1]))
storage, scratch = open_storage(settings), Scratch(settings.scratch_dir, room_in(settings, settings.scratch_dir))
with storage.receive("ten_1/uploads/upl_1") as incoming, scratch.folder() as folder:
    incoming.write(b"half" * 100_000)
    (folder / "shard.npz").write_bytes(b"half")
    print("writing", flush=True)
    sys.stdin.read()
"""
    data_dir = any_settings.data_dir
    writer = subprocess.Popen(
        [sys.executable, "-c", script, data_dir], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with writer:
        assert writer.stdout.readline() == "writing\n"
        writer.send_signal(signal.SIGSTOP)
        making = [*(data_dir / "files" / ".incoming").iterdir(), *any_settings.scratch_dir.glob("*/*")]
        assert len(making) == 2
        for path in making:
            os.utime(path, (time.time() - 3600,) * 2)
        assert collector.collect_everything().total == 0
        writer.kill()
    assert collector.collect_everything().removed == {"temporary": 1, "scratch": 1}
    assert not any(path.exists() for path in making)


@ON_ONE_DATABASE
def test_a_pass_is_short_and_the_next_goes_on(worker, collector, monkeypatch):
    monkeypatch.setattr("service.garbage.collector.PIECE_FILES", 2)
    monkeypatch.setattr("service.garbage.collector.PASS_FILES", 4)
    for number in range(5):
        put(worker, "jobs/job_1", hashed(str(number), 1), age_seconds=GRACE_SECONDS + 5)
        put(worker, "jobs/job_2", hashed(str(number), 1), age_seconds=0)
    assert [collector.collect().deleted for _ in range(4)] == [4, 1, 0, 0]
    assert collector.collect_everything().looked_at == 5


def test_one_collects_at_a_time_and_several_are_harmless(worker, collector, any_database, any_settings):
    for number in range(40):
        put(worker, "jobs/job_1", hashed(str(number), 1), age_seconds=GRACE_SECONDS + 5)
    with any_database.writing() as session:
        assert locks.take(session, "collect", owner="another", seconds=60)
    assert collector.collect() is None
    others = [Collector(any_database, worker.storage, any_settings) for _ in range(3)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Collector.collect_everything, [collector, *others]))
    assert worker.stored_keys() == []
    with any_database.writing() as session:
        locks.release(session, "collect", owner="another")
    assert collector.collect() is not None
    with any_database.reading() as session:
        assert session.execute(select(LockRow)).all() == []


@ON_ONE_DATABASE
def test_a_folder_that_a_killed_delete_left_empty_goes(worker, collector, any_settings):
    folder = any_settings.files_dir / worker.tenant_id / "jobs" / "job_1"
    folder.mkdir(parents=True)
    collector.collect_everything()
    assert not folder.exists()
