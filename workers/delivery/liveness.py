"""Notes that this worker takes tasks, for workers.watching.health: its event loop turns, and Redis answers it."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import redis
from celery import bootsteps

from timbral import keys
from timbral.queue.fleet_state import ALIVE_S
from timbral.redis_server.replies import server_now_s
from workers.delivery.held import running_requests
from workers.watching.health import short_client

__all__ = ["Liveness"]

logger = logging.getLogger(__name__)

INTERVAL_S = 5.0
FIRST_INTERVAL_S = 0.5
"""Until the worker takes tasks: who asks a second after it has started is to see it."""
FORGOTTEN_AFTER_S = 3_600.0


class Liveness(bootsteps.StartStopStep):
    """Worker step: a timer in the event loop, and a thread that writes down when it last fired."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._stop = threading.Event()
        self._turned_at = time.monotonic()

    def register_with_event_loop(self, worker: Any, hub: Any) -> None:  # noqa: ARG002 - Celery's signature
        self._turn()
        hub.call_repeatedly(INTERVAL_S / 5, self._turn)

    def _turn(self) -> None:
        self._turned_at = time.monotonic()

    def start(self, worker: Any) -> None:
        threading.Thread(target=self._run, args=(worker,), name="liveness", daemon=True).start()

    def stop(self, worker: Any) -> None:  # noqa: ARG002 - Celery's signature
        self._stop.set()

    terminate = stop

    def _run(self, worker: Any) -> None:
        client = short_client()
        interval_s = FIRST_INTERVAL_S
        while not self._stop.wait(interval_s):
            try:
                now = server_now_s(client)
                if self._takes_tasks(worker):
                    client.zadd(keys.WORKERS, {worker.hostname: now})
                    interval_s = INTERVAL_S
                client.zremrangebyscore(keys.WORKERS, 0, now - FORGOTTEN_AFTER_S)
            except redis.RedisError as error:
                logger.debug("No liveness: %s", error)
        try:
            client.zrem(keys.WORKERS, worker.hostname)
        except redis.RedisError:
            logger.debug("Cannot sign off")

    def _takes_tasks(self, worker: Any) -> bool:
        busy = len(running_requests()) >= worker.pool.num_processes
        now = time.monotonic()
        if worker.pool.__module__.endswith("solo") and busy:
            return True  # its event loop stands still while it works
        consumer = getattr(worker.consumer, "task_consumer", None)
        client = getattr(getattr(consumer, "channel", None), "client", None)
        answered_at = getattr(client, "answered_at", 0.0)
        return now - self._turned_at < ALIVE_S and (busy or now - answered_at < ALIVE_S)
