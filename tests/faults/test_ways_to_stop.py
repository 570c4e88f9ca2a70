"""Every way of stopping a worker: nothing runs in two places at a time, and the stop has an end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest


def control_shutdown(faults: Any, worker: Any) -> None:
    """`celery control shutdown`, and Flower's button."""
    faults.app.control.shutdown(destination=[f"{worker.name}@test"])


def sending(number: signal.Signals) -> Callable[[Any, Any], None]:
    return lambda faults, worker: worker.signal(number)


def sending_twice(number: signal.Signals) -> Callable[[Any, Any], None]:
    def send(faults: Any, worker: Any) -> None:
        worker.signal(number)
        # Two signals that wait at the same time are one: the second is sent when the first was heeded.
        deadline = time.monotonic() + 90
        while "tasks have" not in worker.log:
            assert time.monotonic() < deadline, worker.log[-2000:]
            time.sleep(0.02)
        worker.signal(number)

    return send


WAYS: dict[str, Callable[[Any, Any], None]] = {
    "control shutdown": control_shutdown,
    "SIGHUP": sending(signal.SIGHUP),
    "SIGTERM": sending(signal.SIGTERM),
    "SIGTERM twice": sending_twice(signal.SIGTERM),
    "SIGINT": sending(signal.SIGINT),
    "SIGQUIT": sending(signal.SIGQUIT),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_task_never_runs_in_two_places_however_its_worker_is_stopped(
    faults: Any, wait_until: Any, observed: Any, way: str
) -> None:
    # given: two workers, a task of four times the visibility timeout, and less than that to finish
    environment = {"VISIBILITY_TIMEOUT_S": "2", "SOFT_SHUTDOWN_S": "6"}
    faults.start(2, environment=environment)
    task_id = faults.send("work", "long", seconds=8)
    wait_until(lambda: faults.begun("long") == 1, 20, "the task's beginning")
    leaving = faults.holder(task_id)
    pid = leaving.process.pid

    # when
    WAYS[way](faults, leaving)

    # then: it is done; whoever began it again began it after the first had let go of it
    wait_until(lambda: faults.succeeded(task_id), 60, "success")
    with faults.client() as client:
        spans = [tuple(map(float, span.decode().split())) for span in client.lrange("test:spans:long", 0, -1)]
    side_by_side = sum(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for n, a in enumerate(spans) for b in spans[n + 1 :])
    assert side_by_side < 0.2, spans
    assert faults.done("long") == 1

    # and: the worker has ended, or begun anew
    if way == "SIGHUP":
        wait_until(
            lambda: leaving.log.count("worker1@test ready") + leaving.log.count("worker0@test ready") == 2,
            60,
            "the new start",
        )
        assert leaving.process.pid == pid
        assert leaving.alive
        again = faults.send("work", "after")
        wait_until(lambda: faults.succeeded(again), 30, "the next task")
    else:
        wait_until(lambda: not leaving.alive, 30, "the worker's end")
    observed(
        f"{way} in the middle of a task, VT 2 s", f"begun {faults.begun('long')} times, done once, never side by side"
    )


def test_a_killed_parent_takes_its_processes_with_it(faults: Any, wait_until: Any, observed: Any) -> None:
    faults.start(2, environment={"VISIBILITY_TIMEOUT_S": "2"})
    task_id = faults.send("work", "long", seconds=8, again=0.1)
    wait_until(lambda: faults.begun("long") == 1, 20, "the task's beginning")
    leaving = faults.holder(task_id)

    leaving.signal(signal.SIGKILL)  # the parent alone, as an out-of-memory killer does

    wait_until(lambda: faults.succeeded(task_id), 40, "success")
    assert (faults.begun("long"), faults.done("long")) == (2, 1)
    observed("kill -9 of a worker's parent process alone", "its processes end with it; done once")
