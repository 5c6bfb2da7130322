"""The queue: Celery messages that carry the id of a work item and nothing else."""

from typing import Any

from celery import Celery
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from latentmill.errors import BrokerFault
from service.settings import Settings

PREFIX = "latentmill."
RESTORE_SECONDS = 10  # between two looks for messages that nobody has settled
SHORT_RETRIES = {"max_retries": 2, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5}


class Queue:
    """The sending side of the queue."""

    def __init__(self, settings: Settings) -> None:
        self._app = Celery("latentmill.service", set_as_current=False)
        self._app.conf.update(celery_config(settings))
        self._time_limits = settings.time_limits

    def send(self, queue_name: str, kind: str, item_id: str) -> None:
        """Tell a worker of `queue_name` that there is an item to claim. Raises BrokerFault when nobody took it."""
        try:
            self._app.send_task(
                f"{PREFIX}{kind}",
                args=[item_id],
                queue=f"{PREFIX}{queue_name}",
                time_limit=self._time_limits.killed_after(kind),
            )
        except (KombuError, RedisError, OSError) as error:
            raise BrokerFault(f"The broker did not take a message: {error}") from error

    def check(self) -> None:
        """Raises BrokerFault when the broker does not answer."""
        try:
            with self._app.connection_for_write() as connection:
                connection.ensure_connection(**SHORT_RETRIES)
                connection.default_channel.client.ping()
        except (KombuError, RedisError, OSError) as error:
            raise BrokerFault(f"The broker did not answer: {error}") from error

    def close(self) -> None:
        """Close all connections."""
        self._app.pool.force_close_all()
        self._app.close()


def celery_config(settings: Settings) -> dict[str, Any]:
    """The settings of Celery that the sending side and the workers share.

    A message is a nudge: it may be lost, doubled or late. Hence no result backend, no countdown, and attempts are
    counted in the database alone.
    """
    return {
        "broker_url": settings.broker.url,
        "broker_transport_options": {
            # Work may take longer: then another worker is given its message too, and finds nothing to claim.
            "visibility_timeout": settings.broker.visibility_seconds,
            "global_keyprefix": settings.broker.key_prefix,
            # Without these a half-open connection blocks for ever.
            "socket_timeout": 10,
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
            "health_check_interval": 15,
            "unacked_restore_interval": min(RESTORE_SECONDS, settings.broker.visibility_seconds),
            "unacked_restore_throttle": 1,
            **SHORT_RETRIES,
        },
        "visibility_timeout": settings.broker.visibility_seconds,  # Celery reads it here too
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # A broker whose disk is full refuses commands: workers wait for it as for one that is away, and do not end.
        "broker_channel_error_retry": True,
        "broker_pool_limit": 4,
        "task_publish_retry": True,
        "task_publish_retry_policy": SHORT_RETRIES,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "result_backend": None,
        "task_store_errors_even_if_ignored": False,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,  # safe because lost attempts are capped in the database
        "task_acks_on_failure": True,
        "task_acks_on_timeout": True,
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,  # the fence makes a duplicate harmless
        "worker_soft_shutdown_timeout": 30.0,
        "worker_enable_soft_shutdown_on_idle": True,
        "worker_hijack_root_logger": False,
        "worker_send_task_events": False,
        "task_send_sent_event": False,
        "task_track_started": False,
        "task_default_queue": f"{PREFIX}prompt",
    }
