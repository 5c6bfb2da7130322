"""The frame around every task, with a step that fails: what becomes of the item, and of files just stored."""

import errno
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save, save_file
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from latentmill.specs import Empirical, Gaussian
from service.database import Database, database_now
from service.jobs.sources import FitSource
from service.settings import DatabaseSettings, Settings
from service.tables import ModelRow, TenantRow, WorkItemRow
from service.work import FenceLost, add
from workers.posteriors.empirical import EmpiricalDensity
from workers.steps import STEPS
from workers.steps.step import Check
from workers.workshop import HandBack, Workshop

KIND = "inspect"  # whose step is here the test's
KEY = "ten_1/previews/prv_1/rows"


@pytest.fixture
def shop(settings: Settings) -> Iterator[Workshop]:
    """A worker's child that gives a busy database up after a moment."""
    hasty = DatabaseSettings(url=settings.database_url, busy_seconds=0.1)
    made = Workshop(settings.model_copy(update={"database": hasty}), owner="here", device="cpu", child=0)
    yield made
    made.publisher.close()
    made.database.dispose()


@pytest.fixture
def perform(shop: Workshop, database: Database, monkeypatch: pytest.MonkeyPatch) -> Callable[..., WorkItemRow]:
    """Performs one item with this step, as often as it is called; the item afterwards."""
    with database.writing() as session:
        session.add(TenantRow(id="ten_1", name="somebody", created_at=database_now(session)))
        session.flush()
        model = ModelRow(
            id="mdl_1", tenant_id="ten_1", state="inspecting", warnings=[], metadata_={}, executions={}, key=None,
            created_at=database_now(session), request_digest="", digest="", size_bytes=1, filename="a.vae.zip",
        )  # fmt: skip
        session.add(model)
    with database.on_behalf_of("ten_1", "req_1").writing() as session:
        item_id = add(session, tenant_id="ten_1", kind=KIND, queue="prompt", subject_id="mdl_1").id

    def once(step: Callable[[Check], object], before: Callable[[], object] = lambda: None) -> WorkItemRow:
        monkeypatch.setitem(STEPS, KIND, lambda shop, claimed, check: step(check))
        with database.writing() as session:
            session.get_one(WorkItemRow, item_id).not_before = database_now(session)
        before()
        try:
            shop.perform(item_id)
        finally:
            with database.reading() as session:
                row = session.get_one(WorkItemRow, item_id)
        return row

    return once


def raising(error: BaseException) -> Callable[[Check], None]:
    def step(check: Check) -> None:
        raise error

    return step


def test_a_defect_ends_the_item_at_the_first_attempt(perform) -> None:
    row = perform(raising(KeyError("no such thing")))
    assert (row.state, row.attempts, row.lost) == ("failed", 1, 0)


def test_memory_that_runs_out_gives_one_more_attempt(perform) -> None:
    def greedy(check: Check) -> None:
        bytearray(1 << 62)

    row = perform(greedy)
    assert (row.state, row.out_of_memory, row.waiting["code"]) == ("pending", 1, "out_of_memory")
    assert row.waiting["request_id"] == "req_1", "whose request it was"
    assert perform(greedy).state == "failed"


def test_a_full_disk_is_waited_out_wherever_it_shows(perform) -> None:
    for attempt in range(1, 8):
        row = perform(raising(OSError(errno.ENOSPC, "No space left on device")))
        assert (row.state, row.attempts, row.lost, row.waiting["code"]) == ("pending", attempt, 0, "storage_full")
    assert perform(lambda check: None).waiting is None


def test_each_wait_in_a_row_is_twice_as_long_as_the_one_before(perform, database: Database) -> None:
    def waited(step: Callable[[Check], object]) -> float:
        row = perform(step)
        with database.reading() as session:
            return (row.not_before - database_now(session)).total_seconds()

    full = raising(OSError(errno.ENOSPC, "No space left on device"))
    assert [waited(full) for _ in range(8)] == [pytest.approx(s, abs=0.9) for s in (1, 2, 4, 8, 16, 32, 60, 60)]
    # Something else than the disk ended this attempt: the next full disk is the first one again.
    assert perform(raising(HandBack())).waits == 0
    assert waited(full) == pytest.approx(1, abs=0.9)


def test_an_item_that_takes_longer_than_its_kind_may_fails_at_once(
    perform, shop: Workshop, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = shop.settings.time_limits.model_copy(update={"inspect_seconds": 0.05})
    monkeypatch.setattr(shop, "settings", shop.settings.model_copy(update={"time_limits": short}))

    def endless(check: Check) -> None:
        while True:
            check()

    row = perform(endless)
    assert (row.state, row.attempts, row.lost) == ("failed", 1, 0)
    with database.reading() as session:
        error = session.get_one(ModelRow, row.subject_id).error
    assert error["code"] == "time_limit_exceeded"
    assert "LATENTMILL_TIME_LIMITS__INSPECT_SECONDS" in error["detail"]


def test_a_database_that_is_locked_when_a_message_comes_is_waited_for(perform, shop: Workshop) -> None:
    """The message is gone then: the item would wait until it is held for lost."""
    holder = sqlite3.connect(shop.database.engine.url.database, check_same_thread=False, isolation_level=None)

    def locked() -> None:
        holder.execute("BEGIN IMMEDIATE")
        threading.Timer(0.4, holder.close).start()

    row = perform(lambda check: None, before=locked)
    assert (row.state, row.attempts) == ("leased", 1)  # claimed, and done by a step that ends nothing


def test_a_database_that_comes_back_has_cost_no_attempt(perform, shop: Workshop) -> None:
    def meet_a_locked_database(check: Check) -> None:
        holder = sqlite3.connect(shop.database.engine.url.database, check_same_thread=False, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        threading.Timer(0.4, holder.close).start()
        with shop.database.writing() as session:
            database_now(session)

    row = perform(meet_a_locked_database)
    assert (row.state, row.lost, row.waiting["code"]) == ("pending", 0, "database_fault")


def test_a_child_that_is_told_to_end_hands_its_item_back(perform, database: Database) -> None:
    with pytest.raises(SystemExit):
        perform(raising(SystemExit(-241)))
    with database.reading() as session:
        row = session.query(WorkItemRow).one()
    assert (row.state, row.lost) == ("pending", 0)


def test_a_child_that_is_told_to_end_because_it_took_too_long_does_not_hand_its_item_back(
    perform, shop: Workshop, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = shop.settings.time_limits.model_copy(update={"inspect_seconds": 0.01})
    monkeypatch.setattr(shop, "settings", shop.settings.model_copy(update={"time_limits": short}))

    def hang(check: Check) -> None:
        threading.Event().wait(0.1)
        raise SystemExit(-241)

    with pytest.raises(SystemExit):
        perform(hang)
    with database.reading() as session:
        assert session.query(WorkItemRow).one().state == "failed"
        assert session.query(ModelRow).one().error["code"] == "time_limit_exceeded"


def test_an_item_that_hangs_beyond_its_time_is_given_up_before_its_process_is_killed(
    perform, shop: Workshop, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = shop.settings.time_limits.model_copy(update={"inspect_seconds": 0.05, "margin_seconds": 0.1})
    monkeypatch.setattr(shop, "settings", shop.settings.model_copy(update={"time_limits": short}))
    seen: list[str] = []

    def hang(check: Check) -> None:
        deadline = time.monotonic() + 20
        while not seen and time.monotonic() < deadline:  # and never a look at the clock
            with database.reading() as session:
                seen.extend(session.execute(select(WorkItemRow.state).where(WorkItemRow.state == "failed")).scalars())
        check()

    assert perform(hang).state == "failed"
    assert seen == ["failed"]
    with database.reading() as session:
        assert session.query(ModelRow).one().error["code"] == "time_limit_exceeded"


def test_files_go_when_their_commit_does_not_come(shop: Workshop) -> None:
    shop.storage.put_bytes(KEY, b"rows")
    with pytest.raises(FenceLost), shop.publishing(KEY):
        raise FenceLost
    assert shop.storage.size_bytes(KEY) is None


def test_files_stay_when_a_signal_falls_into_their_commit(shop: Workshop) -> None:
    def interrupted(session: Session) -> None:
        raise SystemExit(-241)

    def publish() -> None:
        with shop.publishing(KEY) as session:
            session.add(TenantRow(id="ten_2", name="published", created_at=database_now(session)))
            event.listen(session, "after_commit", interrupted)

    shop.storage.put_bytes(KEY, b"rows")
    with pytest.raises(SystemExit):
        publish()
    with shop.database.reading() as session:
        assert session.get(TenantRow, "ten_2") is not None
    assert shop.storage.size_bytes(KEY) == 4


def test_a_density_is_read_once_and_kept(shop: Workshop, tmp_path: Path) -> None:
    """Its parameters may be hundreds of megabytes in storage: the shards after the first find it in memory."""
    means = np.arange(6, dtype=np.float32).reshape(3, 2)
    save_file({"means": means, "stds": np.ones((3, 2), np.float32)}, tmp_path / "parameters")
    shop.storage.put("ten_1/fits/fit_1/parameters", tmp_path / "parameters")
    source = FitSource("fit_1", Empirical(), None, "ten_1/fits/fit_1/parameters", "digest of them")
    density = shop.density(source)
    assert isinstance(density, EmpiricalDensity)
    np.testing.assert_array_equal(density.means, means)
    shop.storage.delete("ten_1/fits/fit_1/parameters")
    assert shop.density(source) is density
    small = save({"mean": np.zeros(2), "variance": np.ones(2)})
    other = FitSource("fit_2", Gaussian(covariance="diagonal"), small, None, "another digest")
    assert shop.density(other).latent_size == 2
    assert shop.density(other) is shop.density(other)
