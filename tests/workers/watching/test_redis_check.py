"""What a Redis may do to the fleet is said by the worker's log, by ``timbral health`` and by the metrics."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet_fixtures import WorkerProcess

from timbral import keys
from timbral.redis_server.limits import RedisLimits
from timbral.stack.embedded_server import EmbeddedServer
from workers.watching.fleet_metrics import FleetMetrics

TRAIN_NOTHING = """
import producers
from timbral.errors import TimbralError
try:
    producers.enqueue_train_model("missing.csv").wait(100)
except TimbralError as error:
    print(type(error).__name__)
"""


def run(code: list[str], server: EmbeddedServer) -> str:
    environment = {**os.environ, "REDIS_URL": server.url, "NO_COLOR": "1"}
    ran = subprocess.run([sys.executable, *code], env=environment, capture_output=True, text=True, timeout=100)
    assert ran.returncode in (0, 1), ran.stderr  # 1: no model is live
    return ran.stdout


@pytest.fixture
def careless() -> Iterator[EmbeddedServer]:
    """A server that deletes whatever it likes, and lets few in."""
    with EmbeddedServer(append_only=False, options={"maxmemory-policy": "allkeys-lru", "maxclients": "17"}) as server:
        yield server


@pytest.fixture
def for_hire(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server as some are hired out: it knows no CLIENT, no CONFIG and no INFO."""
    commands = tmp_path / "commands.conf"
    commands.write_text("".join(f'rename-command {name} ""\n' for name in ("CLIENT", "CONFIG", "INFO")))
    with EmbeddedServer(append_only=False, options={"include": str(commands)}) as server:
        yield server


def test_a_policy_that_may_evict_the_queue_and_few_connections_are_said_everywhere(
    careless: EmbeddedServer, tmp_path: Path, wait_until: Any
) -> None:
    worker = WorkerProcess(careless, tmp_path).spawn()
    try:
        wait_until(lambda: "set it to volatile-ttl" in worker.log, 60, "the warning")
        wait_until(lambda: "raise maxclients" in worker.log, 60, "the other warning")
        health = json.loads(run(["-m", "timbral.cli", "health", "--json"], careless))
        with careless.client() as client:
            found = {metric.name: metric.samples for metric in FleetMetrics(client, client).collect()}
    finally:
        worker.stop()

    assert worker.log.count("maxmemory-policy allkeys-lru deletes messages, models and jobs") == 1
    said = "\n".join(health["problems"])
    assert health["status"] == "degraded"
    assert "its maxmemory-policy allkeys-lru" in said
    assert "raise maxclients" in said
    assert {sample.value for sample in found["timbral_redis_may_evict_the_queue"]} == {1.0}
    assert {sample.value for sample in found["timbral_redis_connections_limit"]} == {17.0}


def test_a_server_as_it_should_be_is_not_worth_a_word(redis_server: EmbeddedServer) -> None:
    with redis_server.client() as client:
        limits = RedisLimits.read(client)

    assert limits.policy == "volatile-ttl"
    assert limits.problems() == []


@pytest.mark.integration
def test_a_fleet_works_where_client_config_and_info_are_unknown(
    for_hire: EmbeddedServer, tmp_path: Path, wait_until: Any
) -> None:
    worker = WorkerProcess(for_hire, tmp_path).spawn()
    try:
        assert run(["-c", TRAIN_NOTHING], for_hire).split() == ["DatasetNotFoundError"], worker.log[-2000:]
        with for_hire.client() as client:
            wait_until(lambda: client.zcard(keys.WORKERS) == 1, 30, "the worker's liveness")
        health = json.loads(run(["-m", "timbral.cli", "health", "--json"], for_hire))
        with for_hire.client() as client:
            found = {metric.name: metric.samples for metric in FleetMetrics(client, client).collect()}
    finally:
        worker.stop()

    assert worker.log.count("does not answer INFO") == 1
    assert health["workers"] == ["worker@test"]
    assert health["problems"][-1].endswith("cannot be checked: it must be volatile-ttl")
    assert [sample.value for sample in found["timbral_redis_up"]] == [1.0, 1.0]
    assert found["timbral_redis_may_evict_the_queue"] == []
