"""Who needs whom, on both databases."""

import threading
from concurrent.futures import ThreadPoolExecutor

from service.work.needs import Resource, dependents_of, end, forget, need, settle, waiting_on

FIT, JOB = Resource("fit", "fit_1"), Resource("job", "job_1")
MODEL, ENCODING, DATASET = Resource("model", "mdl_1"), Resource("encoding", "enc_1"), Resource("dataset", "dat_1")


def test_a_dependent_is_released_by_the_last_that_it_waits_for(any_database):
    with any_database.writing() as session:
        need(session, FIT, MODEL)
        need(session, FIT, ENCODING)
        need(session, JOB, MODEL)
        need(session, JOB, DATASET, settled=True)
    with any_database.writing() as session:
        assert waiting_on(session, FIT) == [ENCODING, MODEL]
        assert settle(session, MODEL) == [JOB]
        assert waiting_on(session, FIT) == [ENCODING]
        assert settle(session, MODEL) == []
        assert settle(session, ENCODING) == [FIT]
        assert waiting_on(session, FIT) == []


def test_what_is_needed_stays_known_until_the_dependent_ends_or_is_forgotten(any_database):
    with any_database.writing() as session:
        need(session, FIT, ENCODING)
        need(session, JOB, ENCODING, settled=True)
        assert dependents_of(session, ENCODING) == [FIT, JOB]
        end(session, FIT)
        assert dependents_of(session, ENCODING) == [JOB]
        assert dependents_of(session, ENCODING, live_only=False) == [FIT, JOB]
        assert settle(session, ENCODING) == []
        forget(session, FIT)
        assert dependents_of(session, ENCODING, live_only=False) == [JOB]
        assert dependents_of(session, MODEL) == []


def test_a_retry_needs_again(any_database):
    with any_database.writing() as session:
        need(session, JOB, MODEL)
        settle(session, MODEL)
        end(session, JOB)
        need(session, JOB, MODEL)
        assert waiting_on(session, JOB) == [MODEL]
        assert settle(session, MODEL) == [JOB]


def test_two_that_settle_at_the_same_time_release_their_dependent_once(any_database):
    for number in range(6):
        dependent = ("job", f"job_{number}")
        with any_database.writing() as session:
            need(session, dependent, MODEL)
            need(session, dependent, ENCODING)
        together = threading.Barrier(2)

        def settle_one(needed: Resource, together: threading.Barrier = together) -> list[Resource]:
            together.wait()
            with any_database.writing() as session:
                return settle(session, needed)

        with ThreadPoolExecutor(2) as pool:
            released = [resource for found in pool.map(settle_one, (MODEL, ENCODING)) for resource in found]
        assert released == [dependent]
