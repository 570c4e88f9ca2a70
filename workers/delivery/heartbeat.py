"""Renews, every quarter of the visibility timeout, the messages that this worker holds.

It is a thread, not a timer of the event loop: a solo worker's loop stands still while its task runs, and any worker's
may while it waits for Redis.
It ends with the process, and not before: however a worker is stopped, what still runs in it is held.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from celery import bootsteps

from timbral.config.settings import settings
from timbral.queue import layout
from timbral.redis_server.client import connect
from workers.delivery.held import held_requests
from workers.delivery.qos import catch_up
from workers.delivery.unacked import Unacked

__all__ = ["Heartbeat"]

logger = logging.getLogger(__name__)

RETRY_S = 1.0
"""Seconds to the next try while Redis is away."""


class Heartbeat(bootsteps.StartStopStep):
    """Worker step that owns the thread."""

    requires = ("celery.worker.components:Pool",)

    def start(self, worker: Any) -> None:
        transport_options = worker.app.conf.broker_transport_options
        self._interval_s = float(transport_options["visibility_timeout"]) / 4
        # Never joined: it may sit in a socket. What it renews late is gone from the index, and stays gone.
        threading.Thread(target=self._run, args=(worker,), name="visibility-heartbeat", daemon=True).start()

    def _run(self, worker: Any) -> None:
        timeout_s = min(5.0, self._interval_s)
        client = connect(settings.broker_url, timeout_s=timeout_s, connect_timeout_s=timeout_s)
        unacked = Unacked(client, layout.UNACKED_INDEX, layout.UNACKED)
        wait_s = self._interval_s
        while True:
            time.sleep(wait_s)
            wait_s = self._interval_s
            try:
                catch_up()
                held = held_requests(getattr(worker, "consumer", None))
                unacked.renew(request.message.delivery_tag for request in held)
            except Exception as error:
                logger.warning("Cannot renew what this worker holds: %s", error)
                wait_s = min(RETRY_S, self._interval_s)
