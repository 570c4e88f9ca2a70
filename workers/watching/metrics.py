"""Prometheus metrics of a worker, on METRICS_PORT: what this worker did, and the fleet's state, read from Redis at each
scrape.

They are served by the parent process, which sees every task of its pool begin and end; so nothing has to be gathered
from its children.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, get_args

from celery import bootsteps
from prometheus_client import Counter, Histogram, start_http_server
from prometheus_client.core import REGISTRY
from redis.backoff import NoBackoff
from redis.retry import Retry

from timbral.config.settings import settings
from timbral.queue.dead_letters import Kind
from timbral.redis_server.client import connect
from workers.watching.fleet_metrics import FleetMetrics

__all__ = ["PARKED", "REDELIVERED", "Server", "TaskCounts"]

logger = logging.getLogger(__name__)

TASKS = Counter("timbral_tasks", "Tasks of this worker that ended, by how.", ["task", "state"])
SECONDS = Histogram(
    "timbral_task_seconds",
    "Time that tasks took which succeeded.",
    ["task"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200),
)
REDELIVERED = Counter("timbral_redelivered", "Messages that came to this worker and had been delivered before.")
PARKED = Counter("timbral_parked", "Messages that this worker parked, by kind.", ["kind"])

STATES = {
    "task-succeeded": "succeeded",
    "task-failed": "failed",
    "task-retried": "retried",
    "task-rejected": "rejected",
    "task-revoked": "revoked",
}


class TaskCounts:
    """Reads along what a worker tells Flower, and counts it; ``tasks`` are those that it knows."""

    def __init__(self, tasks: Iterable[str]) -> None:
        self._names: dict[str, str] = {}
        # A counter that is born with its first failure has not risen, for Prometheus: each is there from the start, at
        # 0.
        for task in tasks:
            for state in STATES.values():
                TASKS.labels(task, state)
        for kind in get_args(Kind):
            PARKED.labels(kind)

    def read_along(self, dispatcher: Any) -> None:
        """Count the events that ``dispatcher`` sends from now on."""
        send = dispatcher.send

        def send_and_count(type: str, *args: Any, **fields: Any) -> Any:  # noqa: A002 - Celery's name
            self.count(type, fields)
            return send(type, *args, **fields)

        dispatcher.send = send_and_count

    def count(self, kind: str, fields: dict[str, Any]) -> None:
        """Count one event."""
        task_id = fields.get("uuid", "")
        if kind == "task-received":
            self._names[task_id] = fields.get("name") or "?"
        elif kind in STATES:
            # Each ends the task here; a rejected one that comes back is received anew.
            name = self._names.pop(task_id, "?")
            TASKS.labels(name, STATES[kind]).inc()
            if kind == "task-succeeded" and isinstance(fields.get("runtime"), float):
                SECONDS.labels(name).observe(fields["runtime"])


class Server(bootsteps.StartStopStep):
    """Worker step that serves the metrics."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._server: Any = None

    def include_if(self, worker: Any) -> bool:  # noqa: ARG002 - Celery's signature
        return settings.METRICS_PORT != 0

    def start(self, worker: Any) -> None:  # noqa: ARG002 - Celery's signature
        broker, records = (
            connect(url, timeout_s=3, connect_timeout_s=2, retry=Retry(NoBackoff(), 0))
            for url in (settings.broker_url, settings.redis_url)
        )
        try:
            self._server, _ = start_http_server(settings.METRICS_PORT)
        except OSError as error:
            # Not worth a worker: several of a host cannot share the port, and metrics of one tell the fleet's state.
            logger.warning("No metrics on port %d: %s", settings.METRICS_PORT, error)
            return
        REGISTRY.register(FleetMetrics(broker, records))

    def stop(self, worker: Any) -> None:  # noqa: ARG002 - Celery's signature
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    terminate = stop
