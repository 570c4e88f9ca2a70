"""Prometheus metrics of a worker, on METRICS_PORT: what this worker did, and the fleet's state, read from Redis at each scrape.

They are served by the parent process, which sees every task of its pool begin and end; so nothing has to be gathered from its children.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import redis
from celery import bootsteps
from prometheus_client import Counter, Histogram, start_http_server
from prometheus_client.core import REGISTRY, CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.backoff import NoBackoff
from redis.retry import Retry

from timbral import keys
from timbral.config.settings import settings
from timbral.queue import layout
from timbral.replies import server_now_s

__all__ = ["PARKED", "REDELIVERED", "FleetState", "Server", "TaskCounts"]

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
    """Reads along what a worker tells Flower, and counts it."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def read_along(self, dispatcher: Any) -> None:
        """Count the events that ``dispatcher`` sends from now on."""
        send = dispatcher.send

        def send_and_count(type: str, *args: Any, **fields: Any) -> Any:  # noqa: A002
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


class FleetState(Collector):
    """What Redis says about the fleet."""

    def __init__(self, broker: redis.Redis, records: redis.Redis) -> None:
        self.broker = broker
        self.records = records

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("timbral_redis_up", "Whether Redis answered.", labels=["redis"])
        for name, metrics in (("queue", self._of_the_queue), ("cache", self._of_the_cache)):
            try:
                found = list(metrics())
            except redis.RedisError as error:
                logger.warning("Cannot read the metrics of the %s: %s", name, error)
                found = []
            up.add_metric([name], 1.0 if found else 0.0)
            yield from found
        yield up

    def _of_the_queue(self) -> Iterator[Metric]:
        with self.broker.pipeline(transaction=False) as pipe:
            for key in layout.all_queue_keys():
                pipe.llen(key)
            pipe.zcard(layout.UNACKED_INDEX)
            pipe.zcard(keys.DEAD_LETTERS)
            pipe.zcount(keys.WORKERS, server_now_s(self.broker) - 30, "+inf")
            *lengths, held, letters, workers = pipe.execute()
        depth = GaugeMetricFamily(
            "timbral_queue_messages", "Messages that wait, over all priorities.", labels=["queue"]
        )
        n_steps = len(layout.PRIORITY_STEPS)
        for place, queue in enumerate(layout.QUEUES):
            depth.add_metric([queue], sum(lengths[place * n_steps : (place + 1) * n_steps]))
        yield depth
        yield GaugeMetricFamily(
            "timbral_held_messages", "Messages that workers hold and have not acknowledged.", value=held
        )
        yield GaugeMetricFamily("timbral_dead_letters", "Messages that are parked.", value=letters)
        yield GaugeMetricFamily("timbral_workers", "Workers that take tasks.", value=workers)

    def _of_the_cache(self) -> Iterator[Metric]:
        version: Any = self.records.get(keys.MODEL_CURRENT)
        with self.records.pipeline(transaction=False) as pipe:
            pipe.zcard(keys.JOBS_OPEN)
            pipe.hlen(keys.SUBMITTED)
            pipe.scard(keys.PLAYS_USERS)
            pipe.info("stats")
            pipe.info("memory")
            pipe.get(keys.model_metadata(version.decode() if version else ""))
            jobs, submitted, users, stats, memory, record = pipe.execute()
        yield GaugeMetricFamily("timbral_jobs_open", "Fanned-out jobs that run.", value=jobs)
        yield GaugeMetricFamily(
            "timbral_submitted_tasks", "Tasks sent by producers whose effect is not there yet.", value=submitted
        )
        yield GaugeMetricFamily(
            "timbral_users_with_new_plays", "Users with plays that no training has seen.", value=users
        )
        lookups = CounterMetricFamily(
            "timbral_redis_lookups", "Reads of keys, of all of Redis's clients.", labels=["result"]
        )
        lookups.add_metric(["hit"], stats["keyspace_hits"])
        lookups.add_metric(["miss"], stats["keyspace_misses"])
        yield lookups
        yield CounterMetricFamily(
            "timbral_redis_evicted_keys", "Keys that Redis dropped for want of memory.", value=stats["evicted_keys"]
        )
        yield GaugeMetricFamily("timbral_redis_used_bytes", "Memory that Redis uses.", value=memory["used_memory"])
        yield GaugeMetricFamily(
            "timbral_redis_limit_bytes", "Memory that Redis may use; 0 for all there is.", value=memory["maxmemory"]
        )
        age_s = _age_s(record)
        if age_s is not None:
            yield GaugeMetricFamily("timbral_model_age_seconds", "Time since the live model was trained.", value=age_s)


def _age_s(record: bytes | None) -> float | None:
    try:
        created_at = json.loads(record or b"{}")["created_at"]
        at = created_at if isinstance(created_at, int | float) else datetime.fromisoformat(created_at).timestamp()
    except (KeyError, TypeError, ValueError):
        return None
    return max(0.0, time.time() - at)


class Server(bootsteps.StartStopStep):
    """Worker step that serves the metrics."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._server: Any = None

    def include_if(self, worker: Any) -> bool:  # noqa: ARG002
        return settings.METRICS_PORT != 0

    def start(self, worker: Any) -> None:  # noqa: ARG002
        broker, records = (
            redis.Redis.from_url(url, socket_timeout=3, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0))
            for url in (settings.broker_url, settings.redis_url)
        )
        try:
            self._server, _ = start_http_server(settings.METRICS_PORT)
        except OSError as error:
            # Not worth a worker: several of a host cannot share the port, and metrics of one tell the fleet's state.
            logger.warning("No metrics on port %d: %s", settings.METRICS_PORT, error)
            return
        REGISTRY.register(FleetState(broker, records))

    def stop(self, worker: Any) -> None:  # noqa: ARG002
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    terminate = stop
