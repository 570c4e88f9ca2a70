"""Renews, every quarter of the visibility timeout, the messages that this worker holds.

It is a thread, not a timer of the event loop: a solo worker's loop stands still while its task runs, and any worker's may while it waits for Redis.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from celery import bootsteps

from timbral.config.settings import settings
from timbral.redis_client import connect
from workers.delivery.held import held_requests
from workers.delivery.qos import settle_late
from workers.delivery.transport import Channel
from workers.delivery.unacked import Unacked

__all__ = ["Heartbeat"]

logger = logging.getLogger(__name__)

RETRY_S = 1.0
"""Seconds to the next try while Redis is away."""


class Heartbeat(bootsteps.StartStopStep):
    """Worker step that owns the thread."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, worker: Any) -> None:
        transport_options = worker.app.conf.broker_transport_options
        self._interval_s = float(transport_options["visibility_timeout"]) / 4
        self._thread = threading.Thread(target=self._run, name="visibility-heartbeat", daemon=True)
        self._thread.start()

    def stop(self, worker: Any) -> None:  # noqa: ARG002
        # Not joined: it may sit in a socket. What it renews late is gone from the index, and stays gone.
        self._stop.set()

    terminate = stop

    def _run(self) -> None:
        timeout_s = min(5.0, self._interval_s)
        client = connect(settings.broker_url, timeout_s=timeout_s, connect_timeout_s=timeout_s)
        unacked = Unacked(client, Channel.unacked_index_key, Channel.unacked_key)
        wait_s = self._interval_s
        while not self._stop.wait(wait_s):
            wait_s = self._interval_s
            try:
                settle_late()
                unacked.renew(request.message.delivery_tag for request in held_requests())
            except Exception as error:
                logger.warning("Cannot renew what this worker holds: %s", error)
                wait_s = min(RETRY_S, self._interval_s)
