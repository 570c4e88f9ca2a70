"""What Redis says of the fleet and of itself, read at each scrape. Every worker tells the same: take ``max`` over them,
not ``sum``."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import redis
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from timbral.config.settings import settings
from timbral.plays.state import PlaysState, read_plays_state
from timbral.queue.fleet_state import FleetState, read_fleet_state
from timbral.redis_server.limits import RedisLimits

__all__ = ["FleetMetrics"]

logger = logging.getLogger(__name__)
T = TypeVar("T")


class FleetMetrics(Collector):
    """What Redis says of the fleet, as gauges and counters."""

    def __init__(self, broker: redis.Redis, records: redis.Redis) -> None:
        self.broker = broker
        self.records = records

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("timbral_redis_up", "Whether Redis answered.", labels=["redis"])
        answered = {"queue": self._answers("queue", self.broker), "cache": self._answers("cache", self.records)}
        for name, answers in answered.items():
            up.add_metric([name], float(answers))
        yield up
        if answered["cache"]:
            yield from self._read("the plays", lambda: _of_the_plays(read_plays_state(self.records)))
        if all(answered.values()):
            clients = {"queue": self.broker, "cache": self.records}
            yield from self._read(
                "the servers", lambda: _of_the_servers({name: RedisLimits.read(c) for name, c in clients.items()})
            )
            yield from self._read("the fleet", lambda: _of_the_fleet(read_fleet_state(self.broker, self.records)))

    def _answers(self, name: str, client: redis.Redis) -> bool:
        return bool(self._read(f"the {name}", lambda: [client.ping()]))

    @staticmethod
    def _read(what: str, read: Callable[[], Iterable[T]]) -> list[T]:
        try:
            return list(read())
        except redis.RedisError as error:
            logger.warning("Cannot read the metrics of %s: %s", what, error)
            return []


def _of_the_fleet(state: FleetState) -> Iterator[Metric]:
    depth = GaugeMetricFamily("timbral_queue_messages", "Messages that wait, over all priorities.", labels=["queue"])
    for queue, n_messages in state.waiting.items():
        depth.add_metric([queue.removeprefix(settings.KEY_PREFIX)], n_messages)  # alerts and dashboards name it so
    yield depth
    trainings = CounterMetricFamily(
        "timbral_trainings",
        "Trainings that ended without an error, by what became of them: held_back is the gate's refusal.",
        labels=["outcome"],
    )
    for outcome, n_trainings in state.trainings.items():
        trainings.add_metric([outcome], n_trainings)
    yield trainings
    for name, text, value in (
        ("held_messages", "Messages that workers hold and have not acknowledged.", state.in_hand),
        ("dead_letters", "Messages that are parked.", state.dead_letters),
        ("workers", "Workers that take tasks.", len(state.workers)),
        ("jobs_open", "Fanned-out jobs that run.", state.open_jobs),
        ("submitted_tasks", "Tasks sent by producers whose effect is not there yet.", state.submitted),
        ("users_with_new_plays", "Users with plays that no training has seen.", state.users_with_new_plays),
    ):
        yield GaugeMetricFamily(f"timbral_{name}", text, value=value)
    if state.model is None:
        return
    if state.model.age_s is not None:
        age = "Time since the live model was trained."
        yield GaugeMetricFamily("timbral_model_age_seconds", age, value=state.model.age_s)
    quality = GaugeMetricFamily(
        "timbral_model_quality",
        "The live model on the held-out rows of its training, by measure: ndcg@20, recall@20, …",
        labels=["measure"],
    )
    for measure, mean in state.model.metrics.items():
        quality.add_metric([measure], mean)
    yield quality
    verdict = GaugeMetricFamily(
        "timbral_model_verdict", "1, with what the gate said of the live model.", labels=["version", "verdict"]
    )
    verdict.add_metric([state.model.version, state.model.verdict], 1)
    yield verdict


def _of_the_plays(state: PlaysState) -> Iterator[Metric]:
    yield CounterMetricFamily("timbral_plays", "Plays recorded.", value=state.recorded)
    yield CounterMetricFamily(
        "timbral_plays_duplicate", "Plays left out: their event id was known.", value=state.duplicates
    )
    yield CounterMetricFamily(
        "timbral_plays_unknown_item", "Plays of items that the live model does not know.", value=state.unknown_items
    )
    for name, text, value in (
        ("unarchived", "Plays that are not in the history yet.", state.waiting),
        (
            "unarchived_age_seconds",
            "Age of the oldest play that is not in the history yet; 0 without any.",
            state.waiting_s,
        ),
        ("unlisted_users", "Users with plays that their lists do not know of yet.", state.unlisted_users),
        ("unlisted_age_seconds", "How long the first of them has waited; 0 without any.", state.unlisted_s),
    ):
        yield GaugeMetricFamily(f"timbral_plays_{name}", text, value=value)
    age_s = math.nan if state.archived_s is None else state.archived_s
    yield GaugeMetricFamily("timbral_plays_archived_age_seconds", "Age of the newest play in the history.", value=age_s)


def _of_the_servers(limits: Mapping[str, RedisLimits]) -> Iterator[Metric]:
    cache = limits["cache"]
    lookups = CounterMetricFamily(
        "timbral_redis_lookups", "Reads of keys, of all of Redis's clients.", labels=["result"]
    )
    for result, count in (("hit", cache.hits), ("miss", cache.misses)):
        if count is not None:  # a server for hire may not answer INFO
            lookups.add_metric([result], count)
    yield lookups
    if cache.evicted is not None:
        yield CounterMetricFamily(
            "timbral_redis_evicted_keys", "Keys that Redis dropped for want of memory.", value=cache.evicted
        )
    for name, text, value in (
        ("used_bytes", "Memory that Redis uses.", cache.used_bytes),
        ("limit_bytes", "Memory that Redis may use; 0 for all there is.", cache.limit_bytes),
    ):
        if value is not None:
            yield GaugeMetricFamily(f"timbral_redis_{name}", text, value=value)
    evicts = GaugeMetricFamily(
        "timbral_redis_may_evict_the_queue",
        "Whether Redis deletes messages and models when memory is full (maxmemory-policy allkeys-*).",
        labels=["redis"],
    )
    taken = GaugeMetricFamily("timbral_redis_connections", "Clients that are connected.", labels=["redis"])
    allowed = GaugeMetricFamily(
        "timbral_redis_connections_limit", "Clients that may be connected (maxclients).", labels=["redis"]
    )
    for server, limit in limits.items():
        if not limit.is_silent:
            evicts.add_metric([server], float(limit.may_evict_the_queue))
        if limit.connections is not None and limit.max_connections:
            taken.add_metric([server], limit.connections)
            allowed.add_metric([server], limit.max_connections)
    yield from (evicts, taken, allowed)
