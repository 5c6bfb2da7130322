"""Claims on both databases: one holder, fenced changes, heartbeats, stops."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.exc import IntegrityError

from latentmill.errors import StorageFull
from service.work import (
    FenceLost,
    Heartbeat,
    NewItem,
    Stopped,
    add_many,
    cancel,
    cancel_pending,
    cancel_subject,
    claim,
    fail,
    finish,
    hand_back,
    live_items,
    request_stop,
)


def test_of_many_claims_of_one_item_one_holds(any_database, add_item):
    threads = 8
    for number in range(4):
        item_id = add_item(index=number)
        together = threading.Barrier(threads)

        def attempt(owner: int, item_id: str = item_id, together: threading.Barrier = together) -> bool:
            together.wait()
            with any_database.writing() as session:
                return claim(session, item_id, owner=str(owner), lease_seconds=60) is not None

        with ThreadPoolExecutor(threads) as pool:
            assert sum(pool.map(attempt, range(threads))) == 1


def test_many_workers_do_every_item_once(any_database, tenant):
    items = [NewItem(tenant, "shard", "compute.cpu", "job_1", index, "job_1") for index in range(60)]
    with any_database.writing() as session:
        item_ids = add_many(session, items)
    done: list[str] = []

    def work(owner: int) -> None:
        for item_id in item_ids:  # every worker tries every item, as if each message came four times
            with any_database.writing() as session:
                held = claim(session, item_id, owner=str(owner), lease_seconds=60)
            if held is not None:
                with any_database.writing() as session:
                    finish(session, held)
                done.append(item_id)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert sorted(done) == sorted(item_ids)


def test_a_claim_says_what_it_holds(add_item, claim_item, item_row, tenant):
    item_id = add_item(index=7)
    held = claim_item(item_id, owner="worker-1")
    assert (held.item_id, held.tenant_id, held.kind, held.queue) == (item_id, tenant, "shard", "compute.cpu")
    assert (held.subject_id, held.job_id, held.index) == ("job_1", "job_1", 7)
    assert (held.fence, held.attempts, held.lost, held.out_of_memory) == (1, 1, 0, 0)
    row = item_row(item_id)
    assert (row.state, row.owner) == ("leased", "worker-1")
    assert 58 < (row.lease_until - row.created_at).total_seconds() < 70


@pytest.mark.parametrize("end", [finish, fail, cancel])
def test_an_item_that_is_over_cannot_be_claimed_or_ended_again(any_database, add_item, claim_item, item_row, end):
    item_id = add_item()
    held = claim_item(item_id)
    with any_database.writing() as session:
        end(session, held)
    row = item_row(item_id)
    assert row.state == {finish: "done", fail: "failed", cancel: "cancelled"}[end]
    assert row.finished_at is not None
    assert claim_item(item_id) is None
    with pytest.raises(FenceLost), any_database.writing() as session:
        end(session, held)


def test_an_unknown_item_cannot_be_claimed(claim_item):
    assert claim_item("wrk_unknown") is None


def test_an_older_fence_changes_nothing(any_database, add_item, claim_item, item_row):
    item_id = add_item()
    old = claim_item(item_id, owner="old")
    with any_database.writing() as session:
        hand_back(session, old)
    new = claim_item(item_id, owner="new")
    assert (new.fence, new.attempts) == (2, 2)
    for change in (finish, fail, cancel, hand_back):
        with pytest.raises(FenceLost), any_database.writing() as session:
            change(session, old)
    assert (item_row(item_id).state, item_row(item_id).owner) == ("leased", "new")


def test_an_item_that_is_handed_back_waits_and_says_why(any_database, add_item, claim_item, item_row, pass_time):
    item_id = add_item()
    held = claim_item(item_id)
    with any_database.writing() as session:
        hand_back(session, held, waiting=StorageFull().problem(), delay_seconds=30, counts="out_of_memory")
    row = item_row(item_id)
    assert (row.state, row.owner, row.lease_until, row.published_at) == ("pending", None, None, None)
    assert row.waiting["code"] == "storage_full"
    assert (row.out_of_memory, row.lost) == (1, 0)
    assert claim_item(item_id) is None  # a late message comes before its time
    pass_time(31)
    again = claim_item(item_id)
    assert (again.attempts, again.out_of_memory) == (2, 1)
    assert item_row(item_id).waiting is None


def test_two_live_items_for_the_same_thing_are_refused(any_database, add_item, claim_item):
    for changes in ({"index": 3}, {"kind": "fit", "queue": "compute", "subject_id": "fit_1", "index": None}):
        item_id = add_item(**changes)
        with pytest.raises(IntegrityError):
            add_item(**changes)
        held = claim_item(item_id)
        with any_database.writing() as session:
            finish(session, held)
        add_item(**changes)  # made again: a retry


def test_fences_go_on_rising_over_the_items_of_one_shard(any_database, add_item, claim_item):
    """Otherwise an attempt of before a retry shares its storage key with one of after it."""
    fences = []
    for end in (finish, fail, cancel):
        held = claim_item(add_item(index=3))
        with any_database.writing() as session:
            end(session, held)
        fences.append(held.fence)
    claim_item(add_item(index=3))
    with any_database.writing() as session:
        cancel_subject(session, subject_id="job_1")
    fences.append(claim_item(add_item(index=3)).fence)
    assert fences == [1, 2, 3, 6]
    assert claim_item(add_item(index=4)).fence == 1


def test_stopping_a_job_cancels_what_waits_and_asks_who_holds(any_database, add_item, claim_item, item_row):
    held, waiting, other = add_item(index=0), add_item(index=1), add_item(subject_id="job_2")
    claim_item(held)
    with any_database.writing() as session:
        assert cancel_pending(session, job_id="job_1") == 1
        assert request_stop(session, job_id="job_1") == 1
        assert live_items(session, job_id="job_1") == 1
    assert [item_row(item_id).state for item_id in (held, waiting, other)] == ["leased", "cancelled", "pending"]
    assert claim_item(waiting) is None
    assert item_row(held).stop_requested


def test_handing_back_does_not_forget_a_stop(any_database, add_item, claim_item, item_row):
    item_id = add_item()
    held = claim_item(item_id)
    with any_database.writing() as session:
        request_stop(session, job_id="job_1")
    with any_database.writing() as session:
        hand_back(session, held)
    assert item_row(item_id).state == "cancelled"
    assert claim_item(item_id) is None


def test_the_items_of_a_deleted_resource_end_under_their_holders(any_database, add_item, claim_item, item_row):
    item_id = add_item(kind="inspect", queue="prompt", subject_id="mdl_1", index=None, job_id=None)
    held = claim_item(item_id)
    with any_database.writing() as session:
        assert cancel_subject(session, subject_id="mdl_1") == 1
    assert item_row(item_id).state == "cancelled"
    with pytest.raises(FenceLost), any_database.writing() as session:
        finish(session, held)


def test_a_heartbeat_keeps_the_lease(any_database, any_settings, add_item, claim_item, item_row):
    item_id = add_item()
    held = claim_item(item_id, lease_seconds=0.5)
    before = item_row(item_id).lease_until
    with Heartbeat(any_database, held, any_settings.work) as heartbeat:
        wait_for(lambda: item_row(item_id).lease_until > before)
        heartbeat.check()
        assert not heartbeat.stop_requested()


def test_a_heartbeat_hears_a_stop(any_database, any_settings, add_item, claim_item):
    held = claim_item(add_item())
    with Heartbeat(any_database, held, any_settings.work) as heartbeat:
        with any_database.writing() as session:
            request_stop(session, job_id="job_1")
        wait_for(heartbeat.stop_requested)
        with pytest.raises(Stopped):
            heartbeat.check()


def test_a_heartbeat_sees_that_the_fence_is_gone_and_does_not_touch_the_new_lease(
    any_database, any_settings, add_item, claim_item, item_row
):
    item_id = add_item()
    old = claim_item(item_id, owner="old")
    with any_database.writing() as session:
        hand_back(session, old)
    claim_item(item_id, owner="new")
    lease = item_row(item_id).lease_until
    with Heartbeat(any_database, old, any_settings.work) as heartbeat:
        wait_for(heartbeat.stop_requested)
        with pytest.raises(FenceLost):
            heartbeat.check()
    assert item_row(item_id).lease_until == lease


def wait_for(happened, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)
