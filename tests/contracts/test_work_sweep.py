"""What the sweep puts right, on both databases."""

from dataclasses import dataclass, field

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from latentmill.errors import NotFound, Problem
from service.database import Database, database_now, database_time
from service.queue import Queue
from service.settings import Settings
from service.tables import LockRow, TenantRow, WorkItemRow
from service.work import Claim, FenceLost, Publisher, cancel_subject, finish, hand_back, locks, request_stop
from service.work.sweep import expire_leases, sweep


@dataclass
class WrittenOutcomes:
    """Outcomes that write into the database like the real ones: a failed subject renames the tenant."""

    failed: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    ends_the_job: bool = False
    resumed: int = 0

    def fail(self, session: Session, item: WorkItemRow, problem: Problem) -> None:
        session.get_one(TenantRow, item.tenant_id).name = problem.code
        session.flush()
        if item.id in self.broken:
            raise NotFound
        if self.ends_the_job:
            cancel_subject(session, subject_id=item.subject_id)
        self.failed.append(item.id)

    def resume(self, session: Session) -> None:
        self.resumed += 1


@pytest.fixture
def outcomes() -> WrittenOutcomes:
    return WrittenOutcomes()


@pytest.fixture
def lose(claim_item, pass_time):
    """Claims an item for a holder that then vanishes: its lease is over."""

    def claim_and_vanish(item_id: str) -> Claim:
        held = claim_item(item_id, lease_seconds=60)
        assert held is not None
        pass_time(61)
        return held

    return claim_and_vanish


def tenant_name(database: Database) -> str:
    with database.reading() as session:
        return session.execute(select(TenantRow.name)).scalar_one()


def test_an_item_whose_holder_vanished_waits_again(
    any_database, any_settings, outcomes, add_item, claim_item, item_row, lose, pass_time
):
    item_id, held_id = add_item(index=0), add_item(index=1)
    old = lose(item_id)
    claim_item(held_id)
    assert expire_leases(any_database, outcomes, any_settings.work) == 1
    row = item_row(item_id)
    assert (row.state, row.lost, row.owner, row.published_at) == ("pending", 1, None, None)
    assert item_row(held_id).state == "leased"
    with pytest.raises(FenceLost), any_database.writing() as session:
        finish(session, old)
    pass_time(1)
    assert claim_item(item_id).lost == 1


def test_the_delay_after_a_loss_doubles_up_to_a_bound(
    any_database, any_settings, outcomes, add_item, item_row, lose, pass_time
):
    work = any_settings.work.model_copy(update={"lost_delay_seconds": 10, "longest_delay_seconds": 35})
    item_id = add_item()
    delays = []
    for _ in range(4):
        lose(item_id)
        expire_leases(any_database, outcomes, work)
        with any_database.reading() as session:
            delays.append((item_row(item_id).not_before - database_now(session)).total_seconds())
        pass_time(36)
    assert delays == [pytest.approx(seconds, abs=4) for seconds in (10, 20, 35, 35)]


def test_an_item_that_was_lost_too_often_fails_with_its_subject(
    any_database, any_settings, outcomes, add_item, claim_item, item_row, lose
):
    work = any_settings.work.model_copy(update={"lost_attempts": 2, "lost_delay_seconds": 0})
    item_id = add_item()
    for _ in range(2):
        lose(item_id)
        expire_leases(any_database, outcomes, work)
    assert item_row(item_id).state == "failed"
    assert outcomes.failed == [item_id]
    assert tenant_name(any_database) == "abandoned"


def test_an_outcome_may_end_all_items_of_its_subject(
    any_database, any_settings, outcomes, add_item, claim_item, item_row, lose
):
    outcomes.ends_the_job = True
    work = any_settings.work.model_copy(update={"lost_attempts": 1})
    lost, held, waiting = (add_item(index=index) for index in range(3))
    claim_item(held, lease_seconds=600)
    lose(lost)
    assert expire_leases(any_database, outcomes, work) == 1
    assert [item_row(item_id).state for item_id in (lost, held, waiting)] == ["failed", "cancelled", "cancelled"]
    assert tenant_name(any_database) == "abandoned"
    assert expire_leases(any_database, outcomes, work) == 0


def test_a_holder_that_was_only_slow_keeps_its_item(
    any_database, any_settings, outcomes, add_item, claim_item, item_row, lose
):
    class Renewing(WrittenOutcomes):
        def fail(self, session: Session, item: WorkItemRow, problem: Problem) -> None:
            super().fail(session, item, problem)
            cancel_subject(session, subject_id=item.subject_id)
            # The heartbeat came between the sweep's look and its change.
            session.execute(update(WorkItemRow).values(lease_until=database_time(60)))

    item_id = add_item()
    lose(item_id)
    work = any_settings.work.model_copy(update={"lost_attempts": 1})
    assert expire_leases(any_database, Renewing(), work) == 0
    assert item_row(item_id).state == "leased"
    assert tenant_name(any_database) == "somebody"


def test_a_hand_back_is_not_a_loss(any_database, any_settings, outcomes, add_item, claim_item, item_row):
    item_id = add_item()
    for _ in range(7):
        with any_database.writing() as session:
            hand_back(session, claim_item(item_id))
    assert expire_leases(any_database, outcomes, any_settings.work) == 0
    assert (item_row(item_id).lost, item_row(item_id).attempts) == (0, 7)


def test_an_outcome_that_cannot_be_written_undoes_itself_and_holds_nobody_up(
    any_database, any_settings, outcomes, add_item, claim_item, item_row, caplog, lose
):
    work = any_settings.work.model_copy(update={"lost_attempts": 1})
    broken, fine = add_item(index=0), add_item(index=1)
    outcomes.broken.add(broken)
    lose(broken)
    lose(fine)
    assert expire_leases(any_database, outcomes, work) == 1
    assert (item_row(broken).state, item_row(fine).state) == ("leased", "failed")
    assert broken in caplog.text


def test_a_stop_that_was_asked_of_a_vanished_holder_cancels(
    any_database, any_settings, outcomes, add_item, claim_item, item_row, lose
):
    item_id = add_item()
    lose(item_id)
    with any_database.writing() as session:
        request_stop(session, job_id="job_1")
    work = any_settings.work.model_copy(update={"lost_attempts": 1})
    expire_leases(any_database, outcomes, work)
    assert item_row(item_id).state == "cancelled"
    assert outcomes.failed == []


@pytest.fixture
def run_sweep(any_database: Database, any_settings: Settings, outcomes: WrittenOutcomes):
    queue = Queue(any_settings)  # nothing listens there: the sweep does its work all the same

    def run() -> bool:
        publisher = Publisher(any_database, queue, any_settings)
        return sweep(any_database, publisher, outcomes, any_settings, owner="beat-1")

    yield run
    queue.close()


def test_a_sweep_runs_alone_and_gives_its_lock_back(any_database, run_sweep, outcomes):
    with any_database.writing() as session:
        assert locks.take(session, "sweep", owner="beat-2", seconds=60)
    assert run_sweep() is False
    assert outcomes.resumed == 0
    with any_database.writing() as session:
        locks.release(session, "sweep", owner="beat-1")  # not its own: nothing happens
        locks.release(session, "sweep", owner="beat-2")
    assert run_sweep() is True
    assert outcomes.resumed == 1
    with any_database.reading() as session:
        assert session.execute(select(LockRow.name)).scalars().all() == ["broker_fault"]  # none listens here


def test_a_lock_ends_when_its_holder_vanishes(any_database, pass_time):
    with any_database.writing() as session:
        assert locks.take(session, "x", owner="one", seconds=60)
        assert locks.take(session, "x", owner="one", seconds=60)
        assert not locks.take(session, "x", owner="two", seconds=60)
    pass_time(61)
    with any_database.writing() as session:
        assert locks.take(session, "x", owner="two", seconds=60)
        assert not locks.take(session, "x", owner="one", seconds=60)


def test_items_that_ended_long_ago_are_forgotten(any_database, run_sweep, add_item, claim_item, pass_time):
    ended, live = add_item(index=0), add_item(index=1)
    with any_database.writing() as session:
        finish(session, claim_item(ended))
    run_sweep()
    with any_database.reading() as session:
        assert len(session.execute(select(WorkItemRow.id)).all()) == 2
    pass_time(8 * 86_400)
    run_sweep()
    with any_database.reading() as session:
        assert session.execute(select(WorkItemRow.id)).scalars().all() == [live]
