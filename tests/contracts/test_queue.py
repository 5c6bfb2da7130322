"""The queue with a real broker: what is sent is what a Celery worker reads, and a broker that is away is said."""

import time

import pytest
from celery import Celery

from latentmill.errors import BrokerFault
from service.queue import Queue, celery_config


def test_a_message_carries_the_id_of_an_item_and_nothing_else(broker_settings):
    queue = Queue(broker_settings)
    queue.send("compute.cpu", "shard", "wrk_1")
    queue.check()
    with Celery(set_as_current=False) as app:
        app.conf.update(celery_config(broker_settings))
        with app.connection_for_read() as connection:
            message = connection.default_channel.basic_get("latentmill.compute.cpu", no_ack=True)
            assert connection.default_channel.basic_get("latentmill.compute.cpu") is None
        app.pool.force_close_all()
    assert message.content_type == "application/json"
    assert message.headers["task"] == "latentmill.shard"
    assert message.payload[0] == ["wrk_1"]
    assert message.payload[1] == {}
    limits = broker_settings.time_limits
    assert message.headers["timelimit"] == [limits.shard_seconds + limits.margin_seconds, None]
    queue.close()


def test_two_services_on_one_broker_do_not_meet(broker_settings):
    queue = Queue(broker_settings)
    queue.send("prompt", "inspect", "wrk_1")
    other = broker_settings.model_copy(
        update={"broker": broker_settings.broker.model_copy(update={"key_prefix": "other:"})}
    )
    with Celery(set_as_current=False) as app:
        app.conf.update(celery_config(other))
        with app.connection_for_read() as connection:
            assert connection.default_channel.basic_get("latentmill.prompt") is None
        app.pool.force_close_all()
    queue.close()


@pytest.mark.parametrize("url", ["redis+socket:///nowhere/broker.sock", "redis://127.0.0.1:1/0"])
def test_a_broker_that_is_away_is_a_fault_within_seconds(settings, url):
    away = settings.model_copy(update={"broker": settings.broker.model_copy(update={"url": url})})
    queue = Queue(away)
    started = time.monotonic()
    with pytest.raises(BrokerFault):
        queue.send("prompt", "inspect", "wrk_1")
    with pytest.raises(BrokerFault):
        queue.check()
    assert time.monotonic() - started < 20
    queue.close()
