"""A database that was away: nobody is lost because of it."""

import time
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, update

from latentmill.errors import DatabaseFault
from service.database import Database
from service.settings import DatabaseSettings, Settings, WorkSettings
from service.tables import TenantRow
from service.work import FenceLost, claim, finish
from service.work.outages import Outages

WORK = WorkSettings(lease_seconds=60, sweep_seconds=5)


def test_leases_are_judged_again_some_time_after_the_database_came_back() -> None:
    outages = Outages(WORK)
    assert [outages.leases_count(now) for now in (0, 5, 10, 14.9, 15, 20, 25)] == [False] * 4 + [True] * 3
    away = 25 + 61
    assert [outages.leases_count(away + since) for since in (0, 5, 10, 15, 20)] == [False] * 3 + [True] * 2


def test_a_database_that_is_always_slow_does_not_keep_leases_for_ever() -> None:
    outages = Outages(WORK)
    judged = [outages.leases_count(30.0 * number) for number in range(8)]
    assert judged == [False, True] * 4


def test_a_claim_whose_commit_was_answered_by_a_fault_is_taken_up_by_its_owner_alone(
    any_database: Database, add_item, claim_item
) -> None:
    item_id = add_item()
    first = claim_item(item_id, owner="me")
    with any_database.writing() as session:
        assert claim(session, item_id, owner="you", lease_seconds=60, again=True) is None
        assert claim(session, item_id, owner="me", lease_seconds=60) is None
        second = claim(session, item_id, owner="me", lease_seconds=60, again=True)
    assert second.fence == first.fence + 1
    with pytest.raises(FenceLost), any_database.writing() as session:
        finish(session, first)
    with any_database.writing() as session:
        finish(session, second)
        assert claim(session, item_id, owner="me", lease_seconds=60, again=True) is None


def test_whoever_stops_in_the_middle_of_a_transaction_keeps_nobody_waiting_for_ever(
    postgres_url: str, settings: Settings
) -> None:
    database, hasty = (
        Database(settings.model_copy(update={"database": DatabaseSettings(url=postgres_url, busy_seconds=seconds)}))
        for seconds in (1.0, 0.1)
    )
    tenant = TenantRow(id="ten_1", name="somebody", created_at=datetime.now(UTC))
    with hasty.writing() as session:
        session.add(tenant)
    renamed = update(TenantRow).values(name="somebody else")
    refused: list[str] = []

    def rename() -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                with hasty.writing() as session:
                    session.execute(renamed)
                return
            except DatabaseFault as fault:
                refused.append(fault.detail)

    def fall_asleep() -> None:
        with database.writing() as session:
            session.execute(renamed)
            rename()
            session.execute(renamed)

    with pytest.raises(DatabaseFault, match="gave up on us"):
        fall_asleep()
    assert refused
    assert all("lock timeout" in words for words in refused)
    with database.reading() as session:
        assert session.execute(select(TenantRow.name)).scalar_one() == "somebody else"
    for each in (database, hasty):
        each.dispose()
