"""Says in the worker's log what its Redis may do to the fleet: each once, and again when it comes back."""

from __future__ import annotations

import logging
import threading
from typing import Any, Final

import redis
from celery import bootsteps

from timbral.config.settings import public_address, settings
from timbral.redis_server.limits import RedisLimits
from workers.watching.health import short_client

__all__ = ["RedisCheck"]

logger = logging.getLogger(__name__)

INTERVAL_S: Final = 60.0


class RedisCheck(bootsteps.StartStopStep):
    """Worker step that owns the thread."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._stop = threading.Event()

    def start(self, worker: Any) -> None:  # noqa: ARG002 - Celery's signature
        threading.Thread(target=self._run, name="redis-check", daemon=True).start()

    def stop(self, worker: Any) -> None:  # noqa: ARG002 - Celery's signature
        self._stop.set()

    terminate = stop

    def _run(self) -> None:
        clients = {url: short_client(url) for url in {settings.broker_url, settings.redis_url}}
        said: dict[str, set[str]] = {url: set() for url in clients}
        while True:
            for url, client in clients.items():
                try:
                    problems = RedisLimits.read(client).problem_of()
                except redis.RedisError as error:
                    logger.debug("Cannot look at Redis: %s", error)
                    continue
                for kind, problem in problems.items():
                    if kind not in said[url]:
                        logger.warning("Redis at %s: %s", public_address(url), problem)
                said[url] = set(problems)
            if self._stop.wait(INTERVAL_S):
                return
