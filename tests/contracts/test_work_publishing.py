"""What goes to the broker next, on both databases, with a real broker."""

import base64
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from sqlalchemy import event

from service.database import Database, database_now
from service.queue import Queue
from service.settings import BrokerSettings, Settings
from service.tables import TenantRow
from service.work import NewItem, Publisher, add_many, cancel_pending, claim, finish, hand_back, workers
from service.work.sweep import forget_lost_messages

CPU = "compute.cpu"


class Broker:
    """The broker as a worker would find it."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._client = redis.Redis(unix_socket_path=settings.url.removeprefix("redis+socket://"))
        self._prefix = settings.key_prefix

    def messages(self, queue: str) -> list[str]:
        """The ids of the items in the queue's messages, the next one first."""
        envelopes = self._client.lrange(f"{self._prefix}latentmill.{queue}", 0, -1)
        bodies = [json.loads(base64.b64decode(json.loads(envelope)["body"])) for envelope in reversed(envelopes)]
        return [arguments[0] for arguments, *_ in bodies]

    def take(self, queue: str) -> str:
        (item_id, *_) = self.messages(queue)
        self._client.rpop(f"{self._prefix}latentmill.{queue}")
        return item_id

    def forget(self) -> None:
        self._client.flushall()

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def with_broker(any_settings: Settings, broker: str) -> Settings:
    update = {"broker": BrokerSettings(url=broker, key_prefix=f"{any_settings.data_dir.name}:")}
    return any_settings.model_copy(update=update)


@pytest.fixture
def at_broker(with_broker: Settings) -> Iterator[Broker]:
    client = Broker(with_broker.broker)
    yield client
    client.close()


@pytest.fixture
def publisher(any_database: Database, with_broker: Settings) -> Iterator[Publisher]:
    queue = Queue(with_broker)
    publisher = Publisher(any_database, queue, with_broker)
    yield publisher
    publisher.close()
    queue.close()


@pytest.fixture
def add_job(any_database: Database):
    """Adds the shards of a job; their ids."""

    def add_shards(tenant_id: str, job_id: str, shards: int, *, priority: int = 5, queue: str = CPU) -> list[str]:
        items = [NewItem(tenant_id, "shard", queue, job_id, index, job_id, priority) for index in range(shards)]
        with any_database.writing() as session:
            return add_many(session, items)

    return add_shards


def announce(database: Database, *, slots: int, queues: tuple[str, ...] = (CPU,)) -> None:
    with database.writing() as session:
        workers.announce(session, name="w1", device_kind="cpu", queues=list(queues), slots=slots)


def work_off(database: Database, publisher: Publisher, at_broker: Broker, items: int) -> list[str]:
    """Do so many items, one at a time, as a worker does; the jobs they belonged to, in order."""
    jobs = []
    for _ in range(items):
        with database.writing() as session:
            held = claim(session, at_broker.take(CPU), owner="w1", lease_seconds=60)
            jobs.append(held.subject_id)
        with database.writing() as session:
            finish(session, held)
        publisher.publish()
    return jobs


def test_the_broker_holds_twice_the_live_slots_and_no_more(any_database, publisher, at_broker, add_job, tenant):
    shards = add_job(tenant, "job_1", 30)
    announce(any_database, slots=3)
    assert publisher.publish() == 6
    assert publisher.publish() == 0
    assert at_broker.messages(CPU) == shards[:6]
    with any_database.writing() as session:
        claim(session, at_broker.take(CPU), owner="w1", lease_seconds=60)
    assert publisher.publish() == 1
    assert at_broker.messages(CPU) == shards[1:7]


def test_a_queue_without_workers_gets_two_messages(publisher, at_broker, add_job, tenant):
    add_job(tenant, "job_1", 5)
    add_job(tenant, "job_2", 5, queue="compute.cuda")
    assert publisher.publish() == 4
    assert (len(at_broker.messages(CPU)), len(at_broker.messages("compute.cuda"))) == (2, 2)


def test_a_worker_that_was_not_seen_lately_has_no_slots(any_database):
    announce(any_database, slots=4, queues=(CPU, "compute"))
    with any_database.reading() as session:
        assert workers.slots_of(session, "compute", seen_seconds=5) == 4
        assert workers.slots_of(session, "prompt", seen_seconds=5) == 0
        time.sleep(0.02)
        assert workers.slots_of(session, CPU, seen_seconds=0.01) == 0
    with any_database.writing() as session:
        workers.depart(session, name="w1")
    with any_database.reading() as session:
        assert workers.live_workers(session, seen_seconds=5) == []


def test_a_tenant_with_many_shards_does_not_starve_another(any_database, publisher, at_broker, add_job, add_tenant):
    greedy, modest = add_tenant("greedy"), add_tenant("modest")
    add_job(greedy, "job_big", 2000)
    announce(any_database, slots=1)
    publisher.publish()
    add_job(modest, "job_small", 3)
    jobs = work_off(any_database, publisher, at_broker, 9)
    assert jobs.index("job_small") <= 2
    assert Counter(jobs)["job_small"] == 3


def test_tenants_with_old_work_do_not_starve_one_that_came_later(
    any_database, publisher, at_broker, add_job, add_tenant
):
    """With fewer places than tenants: each time one is free, all who have nothing at work are equal."""
    for name in ("first", "second", "third"):
        tenant = add_tenant(name)
        for number in range(10):
            add_job(tenant, f"job_{name}_{number}", 1, priority=9)
    add_job(add_tenant("late"), "job_late_0", 6, priority=0)
    announce(any_database, slots=1)
    publisher.publish()
    served = [job.split("_")[1] for job in work_off(any_database, publisher, at_broker, 12)]
    assert Counter(served) == {"first": 3, "second": 3, "third": 3, "late": 3}
    assert "late" in served[:4]


def test_jobs_that_are_all_at_work_go_on_with_the_one_that_has_least(
    any_database, publisher, at_broker, add_job, tenant
):
    first, second = add_job(tenant, "job_1", 6), add_job(tenant, "job_2", 6)
    announce(any_database, slots=1)
    publisher.publish()
    with any_database.writing() as session:
        claim(session, at_broker.take(CPU), owner="w1", lease_seconds=60)
        claim(session, first[1], owner="w2", lease_seconds=60)
    announce(any_database, slots=2)
    assert publisher.publish() == 3
    assert at_broker.messages(CPU) == [second[0], second[1], first[2], second[2]]


def test_a_publisher_looks_at_a_few_items_however_many_wait(database, broker_settings):
    """Measured in instructions of SQLite's machine: seconds depend on what else this machine does."""
    hundreds = 0

    def count() -> None:
        nonlocal hundreds
        hundreds += 1

    @event.listens_for(database.engine, "checkout")
    def watch(connection, record, proxy):
        connection.set_progress_handler(count, 100)

    queue = Queue(broker_settings)
    publisher = Publisher(database, queue, broker_settings)
    costs = []
    for tenant, shards in (("ten_few", 1), ("ten_many", 300)):
        with database.writing() as session:
            session.add(TenantRow(id=tenant, name=tenant, created_at=database_now(session)))
            session.flush()
            jobs = [f"job_{tenant}_{number}" for number in range(10)]
            add_many(session, [NewItem(tenant, "shard", CPU, job, index) for job in jobs for index in range(shards)])
        announce(database, slots=2 + len(costs))
        hundreds = 0
        assert publisher.publish() == (4 if not costs else 2)
        costs.append(hundreds)
    queue.close()
    assert costs[1] < 2 * costs[0] + 10, costs


def test_jobs_of_a_tenant_share_and_the_lowest_index_goes_first(any_database, publisher, at_broker, add_job, tenant):
    first, second = add_job(tenant, "job_1", 20), add_job(tenant, "job_2", 20)
    announce(any_database, slots=2)
    publisher.publish()
    assert at_broker.messages(CPU) == [first[0], second[0], first[1], second[1]]


def test_a_higher_priority_goes_first_within_a_tenant_and_not_before_another(
    any_database, publisher, at_broker, add_job, add_tenant
):
    one, other = add_tenant("one"), add_tenant("other")
    add_job(one, "job_slow", 5, priority=1)
    add_job(one, "job_fast", 5, priority=9)
    add_job(other, "job_other", 5, priority=0)
    announce(any_database, slots=1)
    publisher.publish()
    jobs = work_off(any_database, publisher, at_broker, 8)
    assert jobs.count("job_other") >= 3
    assert [job for job in jobs if job != "job_other"] == ["job_fast"] * (8 - jobs.count("job_other"))


def test_an_item_that_waits_is_published_when_it_is_due(any_database, publisher, at_broker, add_job, tenant, pass_time):
    (item_id,) = add_job(tenant, "job_1", 1)
    with any_database.writing() as session:
        hand_back(session, claim(session, item_id, owner="w1", lease_seconds=60), delay_seconds=30)
    assert publisher.publish() == 0
    pass_time(31)
    assert publisher.publish() == 1
    assert at_broker.messages(CPU) == [item_id]


def test_a_cancelled_job_frees_its_places_and_its_messages_find_nothing(
    any_database, publisher, at_broker, add_job, tenant
):
    add_job(tenant, "job_1", 10)
    publisher.publish()
    with any_database.writing() as session:
        cancel_pending(session, job_id="job_1")
        assert claim(session, at_broker.messages(CPU)[0], owner="w1", lease_seconds=60) is None
    other = add_job(tenant, "job_2", 2)
    assert publisher.publish() == 2
    assert at_broker.messages(CPU)[2:] == other


def test_what_a_broker_that_is_away_did_not_take_is_published_later(
    any_database, any_settings, publisher, at_broker, add_job, tenant
):
    shards = add_job(tenant, "job_1", 3)
    queue = Queue(any_settings)  # nothing listens there
    started = time.monotonic()
    assert Publisher(any_database, queue, any_settings).publish() == 0
    assert time.monotonic() - started < 20
    queue.close()
    assert publisher.publish() == 2
    assert at_broker.messages(CPU) == shards[:2]


def test_messages_that_the_broker_lost_are_sent_again_with_growing_patience(
    any_database, with_broker, publisher, at_broker, add_job, tenant, pass_time
):
    shards = add_job(tenant, "job_1", 2)
    publisher.publish()
    at_broker.forget()
    work = with_broker.work.model_copy(update={"republish_seconds": 60})
    for patience in (60, 120, 240, 480, 480):
        pass_time(patience - 30)
        with any_database.writing() as session:
            assert forget_lost_messages(session, work) == 0
        pass_time(31)
        with any_database.writing() as session:
            assert forget_lost_messages(session, work) == 2
        assert publisher.publish() == 2
    assert at_broker.messages(CPU) == shards * 5


def test_a_nudge_publishes_from_a_thread(publisher, at_broker, add_job, tenant):
    shards = add_job(tenant, "job_1", 1)
    publisher.nudge()
    deadline = time.monotonic() + 20
    while at_broker.messages(CPU) != shards:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_publishers_send_each_item_once(any_database, with_broker, at_broker, add_job, tenant):
    add_job(tenant, "job_1", 40)
    announce(any_database, slots=10)
    queues = [Queue(with_broker) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda queue: Publisher(any_database, queue, with_broker).publish(), queues))
    sent = at_broker.messages(CPU)
    assert len(sent) == len(set(sent)) >= 20
    for queue in queues:
        queue.close()
