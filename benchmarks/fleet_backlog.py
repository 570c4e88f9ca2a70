"""What a backlog costs: how many tasks a second a worker does with nothing else waiting, and with 40,000 messages that
wait."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from celery import Celery

from benchmarks.fleet_setup import Setup, setup
from benchmarks.results import Row
from timbral import keys

__all__ = ["backlog"]

WAITING = 40_000


def backlog(quick: bool) -> tuple[list[Row], dict[str, Any]]:
    """Tasks that do nothing, by turns in front of nothing and in front of a backlog, with a rescue each second."""
    n_waiting, n_tasks, turns = (4_000, 200, 1) if quick else (WAITING, 800, 3)
    rates: dict[str, list[float]] = {"0": [], str(n_waiting): []}
    with setup() as made:
        environment = {"RESTORE_INTERVAL_S": 1, "PYTHONPATH": str(Path(__file__).parent.parent)}
        template = _template(made)
        with made.worker(2, app="benchmarks.fleet_noop", settings=environment, queues="celery"):
            _rate(made, template, 100, 0)  # warm
            for _ in range(turns):
                for n in (0, n_waiting):
                    rates[str(n)].append(_rate(made, template, n_tasks, n))
    share = max(rates[str(n_waiting)]) / max(rates["0"])
    ours, peer = f"{max(rates[str(n_waiting)]):.0f} tasks/s", f"{max(rates['0']):.0f} tasks/s"
    what = f"tasks a second with {n_waiting:,} messages waiting, of those with none"
    note = "tasks that do nothing, two processes, a rescue each second instead of every 15; the messages are recorded as submitted long ago"
    return [Row(what, 100 * share, "%", 90, 95, ours, peer, note)], {"tasks_per_s": rates}


def _template(made: Setup) -> dict[str, Any]:
    with Celery("bench", broker=f"{made.server.url}/0", set_as_current=False) as app:
        app.send_task("noop", task_id="template", queue="celery")
    value: Any = made.client.rpop("celery")
    message: dict[str, Any] = json.loads(value)
    return message


def _rate(made: Setup, template: dict[str, Any], n_tasks: int, n_waiting: int) -> float:
    """How fast the first ``n_tasks`` go, of ``n_tasks + n_waiting``; all are gone at the end."""
    made.client.delete("celery", keys.SUBMITTED)
    _push(made, template, n_tasks + n_waiting)
    while made.client.llen("celery") > n_waiting + n_tasks - 50:
        time.sleep(0.005)
    began, at = time.perf_counter(), made.client.llen("celery")
    while made.client.llen("celery") > n_waiting:
        time.sleep(0.005)
    rate = (at - n_waiting) / (time.perf_counter() - began)
    made.client.delete("celery", keys.SUBMITTED)
    return rate


def _push(made: Setup, template: dict[str, Any], n_messages: int) -> None:
    record = json.dumps({"task": "noop", "kwargs": {}, "queue": "celery", "at": time.time() - 3_600})
    tag = time.monotonic_ns()
    with made.client.pipeline(transaction=False) as pipe:
        # Behind what is there already, the last first: the worker begins when all of it is.
        for n in range(n_messages):
            task_id = f"{tag}-{n}"
            template["headers"]["id"] = template["headers"]["root_id"] = task_id
            template["properties"]["delivery_tag"] = task_id
            pipe.hset(keys.SUBMITTED, task_id, record)
            pipe.lpush("filling", json.dumps(template))
            if n % 1_000 == 999:
                pipe.execute()
        pipe.rename("filling", "celery")
        pipe.execute()
