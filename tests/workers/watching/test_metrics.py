from __future__ import annotations

import json
import socket
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import redis
from fleet_fixtures import Fleet
from prometheus_client.parser import text_string_to_metric_families
from redis.backoff import NoBackoff
from redis.retry import Retry

from timbral import keys
from workers.watching.fleet_metrics import FleetMetrics

FAULT_TASKS = Path(__file__).parents[2] / "faults"


def values(text: str) -> dict[tuple[str, str], float]:
    """(name, value of the first label) → value, the sum over the other labels."""
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, next(iter(sample.labels.values()), "")
            found[key] = found.get(key, 0.0) + sample.value
    return found


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_a_worker_serves_what_it_did_and_the_fleets_state(fleet: Fleet, client: redis.Redis, wait_until: Any) -> None:
    # given: a worker that did three tasks, of which one failed, and parked garbage; messages on a queue that nobody
    # reads
    port = free_port()
    fleet.start(
        python_path=FAULT_TASKS, options=("-I", "fault_tasks"), queues="celery", environment={"METRICS_PORT": str(port)}
    )
    from celery import Celery

    app = Celery("producer", broker=f"{fleet.server.url}/0", set_as_current=False)
    for n in range(2):
        app.send_task("fault.work", kwargs={"name": f"ok{n}"})
    app.send_task("fault.work", kwargs={"wrong": 1})
    client.lpush("celery", b"garbage")
    client.lpush("batch", "1", "2")
    client.lpush("batch\x06\x163", "3")

    def scrape() -> dict[tuple[str, str], float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return values(answer.read().decode())

    # then: every count is there before anything is counted, or an increase from nothing would be none
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    for task in ("fault.work", "train_model", "compute_recommendations", "compute_chunk", "refresh_embeddings"):
        for state in ("succeeded", "failed", "retried", "rejected", "revoked"):
            assert f'timbral_tasks_total{{state="{state}",task="{task}"}} ' in text or (
                f'timbral_tasks_total{{task="{task}",state="{state}"}} ' in text
            )

    def counted() -> bool:
        done = scrape()
        ended = sum(value for (name, _), value in done.items() if name == "timbral_tasks_total")
        return ended == 3 and done.get(("timbral_parked_total", "garbage")) == 1

    wait_until(counted, 30, "three tasks and one parked message")
    wait_until(lambda: scrape()["timbral_workers", ""] == 1, 15, "the worker's liveness")
    found = scrape()
    assert found["timbral_task_seconds_count", "fault.work"] == 2
    assert found["timbral_queue_messages", "batch"] == 3
    assert found["timbral_queue_messages", "celery"] == 0
    assert found["timbral_dead_letters", ""] == 1
    assert found["timbral_held_messages", ""] == 0
    assert found["timbral_redis_up", "queue"] == found["timbral_redis_up", "cache"] == 1
    app.close()


def test_the_models_age_and_quality_are_known_and_so_are_the_gates_refusals_and_lookups(client: redis.Redis) -> None:
    created_at = (datetime.now(UTC) - timedelta(hours=2)).isoformat(timespec="seconds")
    client.set(keys.MODEL_CURRENT, "v1")
    record = {
        "created_at": created_at,
        "metrics": {"ndcg@20": 0.25},
        "verdict": {"outcome": "not worse", "reason": "not worse: NDCG@20 …"},
    }
    client.set(keys.model_metadata("v1"), json.dumps(record))
    client.hincrby(keys.TRAININGS_ENDED, "held_back", 2)
    client.zadd(keys.JOBS_OPEN, {"job": time.time()})

    found = {metric.name: metric for metric in FleetMetrics(client, client).collect()}

    assert 7190 < found["timbral_model_age_seconds"].samples[0].value < 7300
    (quality,) = found["timbral_model_quality"].samples
    assert (quality.labels, quality.value) == ({"measure": "ndcg@20"}, 0.25)
    assert found["timbral_model_verdict"].samples[0].labels == {
        "version": "v1",
        "verdict": "not worse",
    }
    trainings = {sample.labels["outcome"]: sample.value for sample in found["timbral_trainings"].samples}
    assert trainings == {"promoted": 0, "held_back": 2, "not_asked": 0}
    assert found["timbral_jobs_open"].samples[0].value == 1
    assert {sample.labels["result"] for sample in found["timbral_redis_lookups"].samples} == {"hit", "miss"}


def test_metrics_of_a_redis_that_is_away_say_so() -> None:
    nobody = redis.Redis(port=1, socket_connect_timeout=0.5, retry=Retry(NoBackoff(), 0))

    found = {metric.name: metric for metric in FleetMetrics(nobody, nobody).collect()}

    assert list(found) == ["timbral_redis_up"]
    assert [sample.value for sample in found["timbral_redis_up"].samples] == [0, 0]
