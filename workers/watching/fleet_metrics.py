"""What Redis says of the fleet and of itself, read at each scrape. Every worker tells the same: take ``max`` over them, not ``sum``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import redis
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from timbral.queue.fleet_state import FleetState, read_fleet_state

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
            yield from self._read("the server", lambda: _of_the_server(self.records))
        if all(answered.values()):
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
        depth.add_metric([queue], n_messages)
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


def _of_the_server(client: redis.Redis) -> Iterator[Metric]:
    with client.pipeline(transaction=False) as pipe:
        pipe.info("stats")
        pipe.info("memory")
        stats, memory = pipe.execute()
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
