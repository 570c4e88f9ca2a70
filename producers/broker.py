"""The sending end of the queue: Celery without tasks and without a result backend."""

from __future__ import annotations

import uuid
from typing import Any, Final

from celery import Celery
from kombu.exceptions import OperationalError
from kombu.pools import ProducerPool
from kombu.utils.json import dumps
from redis.exceptions import RedisError

from producers.transport import Unsent, transport_of
from timbral.config.fleet_celery import celery_settings
from timbral.config.redis_url import RedisUrl
from timbral.config.settings import public_address
from timbral.queue import layout
from timbral.queue.message_form import MessageForm
from timbral.redis_server.refusals import as_ours

__all__ = ["Broker"]

POOL_SIZE: Final = 10
"""Connections to the queue of one process; more threads than that wait for one another."""
ACQUIRE_TIMEOUT_S: Final = 10
PUBLISH_RETRIES: Final = {"max_retries": 2, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.5}
SHORT_WAITS: Final = {"socket_timeout": 3, "socket_connect_timeout": 2}
"""A web request that enqueues cannot wait as long as a worker does; every other transport option is the fleet's."""


class _Sender(Celery):  # type: ignore[misc]  # Celery has no types
    # Said here, and not in the configuration: to that Celery would prefer the environment, which another Celery may
    # own.
    backend_cls = "disabled"


class Broker:
    """Publishes tasks by name.

    It has a pool of its own, so that it touches no connection of an app that uses Celery itself. It has no result
    backend: Celery would hold a subscription for every task that was ever sent.

    Args:
        url: of the queue.
    """

    def __init__(self, url: RedisUrl) -> None:
        self._address = public_address(str(url))
        self._forms: dict[str, MessageForm] = {}
        self.app = _Sender("timbral.producers", loader="celery.loaders.app:AppLoader", set_as_current=False)
        self.app.config_from_object(celery_settings())
        self.app.conf.update(
            task_send_sent_event=False,  # a producer's ACL need not allow PUBLISH
            broker_transport_options={**self.app.conf.broker_transport_options, **url.celery_options, **SHORT_WAITS},
        )
        write = self.app.connection_for_write(url.celery_url, transport=transport_of(url.celery_url))
        self._connections = write.Pool(limit=POOL_SIZE)
        self._producers = ProducerPool(self._connections, limit=POOL_SIZE, Producer=self.app.amqp.Producer)

    def queue_of(self, task: str) -> str:
        """Name of the queue that the task goes to."""
        return layout.own_queue(task)

    def publish(self, task: str, kwargs: dict[str, Any], task_id: str) -> None:
        """Put a task on its queue.

        Raises:
            RedisUnavailableError: the queue cannot be reached or refused.
        """
        try:
            with self._producers.acquire(block=True, timeout=ACQUIRE_TIMEOUT_S) as producer:
                try:
                    self._send(producer, task, kwargs, task_id)
                except AttributeError:
                    # Of an outage while it declares the queue, kombu tells nobody: it connects anew and publishes on
                    # the channel that it closed, which has nothing to ask the sentinels with. Nothing was sent.
                    if producer.channel.connection is not None:
                        raise
                    producer.connection.collect()
                    producer.revive(producer.connection)
                    self._send(producer, task, kwargs, task_id)
        except (OperationalError, RedisError, OSError) as error:
            raise as_ours(self._address, error) from error

    def form(self, task: str) -> MessageForm:
        """The task's message without arguments, for whoever puts it on the queue in another way; sends nothing."""
        if task not in self._forms:
            self._forms[task] = self._form(task)
        return self._forms[task]

    def _form(self, task: str) -> MessageForm:
        task_id = str(uuid.uuid4())
        with self.app.connection_for_write("unsent://", transport=Unsent) as connection:
            channel = connection.channel()
            self._send(self.app.amqp.Producer(channel), task, {}, task_id)
            ((queue, message),) = channel.unsent
        key = layout.queue_key(queue, layout.priority_of(message))
        return MessageForm(key, dumps(message), task_id, message["properties"]["delivery_tag"])

    def _send(self, producer: Any, task: str, kwargs: dict[str, Any], task_id: str) -> None:
        self.app.send_task(
            task,
            kwargs=kwargs,
            task_id=task_id,
            queue=self.queue_of(task),
            producer=producer,
            headers={layout.WORK_HEADER: task_id},
            retry=True,
            retry_policy=PUBLISH_RETRIES,
        )

    def close(self) -> None:
        """Close every connection to the queue."""
        self._producers.force_close_all()
        self._connections.force_close_all()
        self.app.close()
