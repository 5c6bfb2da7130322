"""A holder that is known to be dead: its leases end at once, and nobody else's do."""

from types import SimpleNamespace

from service.database import database_now
from service.settings import DatabaseSettings
from service.work import Claim, end_leases, finish, hand_back
from service.work.sweep import expire_leases
from workers.app import create_worker
from workers.children import holder_name, release

DEAD, OTHER = "compute@here-7/5f0c9a1e.3/4242", "compute@here-7/5f0c9a1e.4/4242"  # whose pid is the same


class NoOutcomes:
    def fail(self, *_: object) -> None:
        raise AssertionError

    def resume(self, *_: object) -> None:
        raise AssertionError


def test_only_what_the_dead_one_holds_is_lost(any_database, any_settings, add_item, claim_item, item_row):
    held, theirs, taken, done = (add_item(index=index) for index in range(4))
    claim_item(held, owner=DEAD)
    claim_item(theirs, owner=OTHER)
    with any_database.writing() as session:
        hand_back(session, claim_item(taken, owner=DEAD))
    claim_item(taken, owner=OTHER)
    with any_database.writing() as session:
        finish(session, claim_item(done, owner=DEAD))
    leases = [item_row(item_id).lease_until for item_id in (theirs, taken)]

    with any_database.writing() as session:
        assert end_leases(session, owner=DEAD) == 1
    assert expire_leases(any_database, NoOutcomes(), any_settings.work) == 1
    row = item_row(held)
    assert (row.state, row.lost, row.owner, row.lease_until) == ("pending", 1, None, None)
    with any_database.reading() as session:
        delay = (row.not_before - database_now(session)).total_seconds()
    assert 0 < delay <= any_settings.work.lost_delay_seconds
    assert [item_row(item_id).lease_until for item_id in (theirs, taken)] == leases
    assert [item_row(item_id).state for item_id in (theirs, taken, done)] == ["leased", "leased", "done"]


def test_a_lease_that_is_over_ends_no_later(any_database, any_settings, add_item, claim_item, pass_time):
    item_id = add_item()
    assert isinstance(claim_item(item_id, owner=DEAD), Claim)
    pass_time(61)
    with any_database.writing() as session:
        assert end_leases(session, owner=DEAD) == 0
    assert expire_leases(any_database, NoOutcomes(), any_settings.work) == 1


def test_no_two_processes_hold_by_one_name(settings):
    children = [SimpleNamespace(name=f"SpawnPoolWorker-{number}", pid=4242) for number in (3, 4)]
    workers = [create_worker(settings, name="gpu", device="cpu") for _ in range(2)]
    assert len({holder_name(worker.conf["latentmill_run"], child) for worker in workers for child in children}) == 4


def test_a_database_that_is_away_leaves_it_to_the_lease(any_settings, tmp_path, caplog):
    (tmp_path / "file").touch()
    away = DatabaseSettings(url=f"sqlite:///{tmp_path}/file/latentmill.db")
    release(any_settings.model_copy(update={"database": away}), DEAD)
    assert f"what {DEAD} held waits for the end of its lease" in caplog.text
