"""Shards of a job wait out together what all of them would meet, and go on together, on both databases."""

from latentmill.errors import StorageFull
from service.database import database_now
from service.tables import WorkItemRow
from service.work import hand_back, siblings


def test_siblings_wait_as_long_as_the_one_that_met_a_full_disk_and_go_on_with_it(
    any_database, add_item, claim_item, item_row, pass_time
):
    waiting = StorageFull("No more fits").problem()
    first, second, third, published = (add_item(index=index) for index in range(4))
    elsewhere = add_item(subject_id="job_2")
    with any_database.writing() as session:
        session.get_one(WorkItemRow, published).published_at = database_now(session)

    def meet_a_full_disk(item_id: str, delay_seconds: float) -> int:
        held = claim_item(item_id)
        with any_database.writing() as session:
            hand_back(session, held, waiting=waiting, delay_seconds=delay_seconds, counts="waits")
            return siblings.keep_waiting(session, held, waiting=waiting, delay_seconds=delay_seconds)

    assert meet_a_full_disk(first, 10) == 2
    assert [claim_item(item_id) for item_id in (first, second, third)] == [None] * 3
    assert item_row(third).waiting["code"] == "storage_full"
    assert [item_row(item_id).waits for item_id in (first, second, third, published, elsewhere)] == [1, 1, 1, 0, 0]
    assert claim_item(elsewhere) is not None

    pass_time(11)
    assert meet_a_full_disk(second, 20) == 2
    assert [item_row(item_id).waits for item_id in (first, second, third)] == [2, 2, 2]

    pass_time(21)
    held = claim_item(third)
    with any_database.writing() as session:
        assert siblings.keep_waiting(session, held, waiting=waiting, delay_seconds=60) == 2
        assert siblings.go_on(session, held) == 2
    for item_id in (first, second):
        assert (item_row(item_id).waits, item_row(item_id).waiting) == (0, None)
        assert claim_item(item_id) is not None
    with any_database.writing() as session:
        assert siblings.go_on(session, claim_item(published)) == 0, "it had waited for nothing"
