from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from fleet_fixtures import Fleet

from timbral import keys
from timbral.queue.fleet_state import ALIVE_S, alive_workers
from workers.delivery.liveness import Liveness


def health(server_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "workers.watching.health", *arguments],
        env={**os.environ, "REDIS_URL": server_url},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_worker_that_takes_tasks_is_healthy_until_it_is_gone(
    fleet: Fleet, client: redis.Redis, wait_until: Any
) -> None:
    # given
    (worker,) = fleet.start()
    wait_until(lambda: list(alive_workers(client)) == ["worker0@test"], 20, "its liveness")

    # then
    assert health(fleet.server.url, "worker0@test").returncode == 0
    other = health(fleet.server.url, "worker1@test")
    assert (other.returncode, other.stdout) == (1, "")
    assert "worker0@test" in other.stderr
    assert health(fleet.server.url).returncode == 1, "it is of another host"
    assert "not available" in health("redis://127.0.0.1:1", "worker0@test").stderr

    # when
    worker.signal(signal.SIGTERM)

    # then
    wait_until(lambda: not client.exists(keys.WORKERS), 20, "the worker signed off")


@pytest.mark.parametrize(
    ("turned_s_ago", "answered_s_ago", "pool", "n_busy", "takes_tasks"),
    [
        (1, 1, "prefork", 0, True),
        (60, 1, "prefork", 0, False),  # the event loop hangs
        (60, 1, "prefork", 1, False),
        (1, 60, "prefork", 0, False),  # silent: it waits for no message, though it has nothing to do
        (1, 60, "prefork", 1, True),
        (60, 60, "solo", 1, True),  # works, and its loop with it
        (60, 60, "solo", 0, False),
    ],
)
def test_liveness_needs_a_loop_that_turns_and_a_redis_that_answers(
    monkeypatch: pytest.MonkeyPatch,
    turned_s_ago: float,
    answered_s_ago: float,
    pool: str,
    n_busy: int,
    takes_tasks: bool,
) -> None:
    # given
    now = time.monotonic()
    pool_class = type("TaskPool", (), {"__module__": f"celery.concurrency.{pool}", "num_processes": 1})
    channel = SimpleNamespace(client=SimpleNamespace(answered_at=now - answered_s_ago))
    consumer = SimpleNamespace(task_consumer=SimpleNamespace(channel=channel))
    worker = SimpleNamespace(pool=pool_class(), consumer=consumer, hostname="w@h")
    monkeypatch.setattr("workers.delivery.liveness.running_requests", lambda: [object()] * n_busy)
    step = Liveness(worker)
    step._turned_at = now - turned_s_ago

    assert step._takes_tasks(worker) is takes_tasks


def test_an_old_sign_is_none(client: redis.Redis) -> None:
    now = time.time()
    client.zadd(keys.WORKERS, {"new@h": now - 3, "old@h": now - ALIVE_S - 1})

    assert list(alive_workers(client)) == ["new@h"]
