"""SIGTERM, as a redeploy sends it."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from timbral import keys

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("remap", [{"REMAP_SIGTERM": ""}, {"REMAP_SIGTERM": "SIGQUIT"}], ids=["plain", "remapped"])
def test_a_task_that_takes_too_long_is_handed_over_and_that_is_no_crash(
    faults: Any, wait_until: Any, observed: Any, remap: dict[str, str]
) -> None:
    # given: one delivery is all that a message may have, and a soft shutdown of 2 s
    workers = faults.start(2, environment={"MAX_DELIVERIES": "1", "VISIBILITY_TIMEOUT_S": "60", **remap})
    task_id = faults.send("work", "long", seconds=6, again=0.2)
    wait_until(lambda: faults.begun("long") == 1, 20, "the task's beginning")

    # when
    leaving = faults.holder(task_id)
    leaving.signal(signal.SIGTERM)
    asked_at = time.monotonic()

    # then: the other has it within ten seconds, the first never ends it
    wait_until(lambda: faults.begun("long") == 2, 20, "the second beginning")
    took_s = time.monotonic() - asked_at
    wait_until(lambda: not leaving.alive, 10, "the worker's end")
    assert leaving.process.returncode == 0
    wait_until(lambda: faults.succeeded(task_id), 30, "success")
    assert (faults.begun("long"), faults.done("long")) == (2, 1)
    observed(
        "SIGTERM mid-task, two workers, soft 2 s",
        f"taken over after {took_s:.1f} s; begun 2 times, done once, no delivery counted",
    )
    assert sum(worker.alive for worker in workers) == 1
    with faults.client() as client:
        assert not client.exists(keys.DEAD_LETTERS)


def test_a_task_that_ends_in_time_is_finished_and_the_worker_leaves_with_it(faults: Any, wait_until: Any) -> None:
    # given: half a minute to finish
    (worker,) = faults.start(environment={"SOFT_SHUTDOWN_S": "30"})
    task_id = faults.send("work", "short", seconds=2)
    wait_until(lambda: faults.begun("short") == 1, 20, "the task's beginning")

    # when
    worker.signal(signal.SIGTERM)
    waiting = faults.send("work", "later")

    # then: it does not wait the half minute, and takes nothing new
    wait_until(lambda: not worker.alive, 20, "the worker's end")
    assert faults.succeeded(task_id)
    assert (faults.begun("short"), faults.done("short"), faults.begun("later")) == (1, 1, 0)
    assert faults.held() == 0
    with faults.client() as client:
        assert client.llen("celery") == 1
        assert waiting.encode() in client.lindex("celery", 0)


def test_pools_without_processes_hand_over_too(faults: Any, wait_until: Any) -> None:
    # given: a worker of each kind with a queue of its own, in the middle of a task, and one more that takes from both
    environment = {"VISIBILITY_TIMEOUT_S": "60", "SOFT_SHUTDOWN_S": "1"}
    pools = {"celery": "solo", "batch": "threads"}
    leaving = {
        queue: faults.start(queues=queue, pool=pool, environment=environment)[0] for queue, pool in pools.items()
    }
    task_ids = {queue: faults.send("work", queue, queue=queue, seconds=20, again=0.1) for queue in pools}
    wait_until(lambda: all(faults.begun(queue) == 1 for queue in pools), 20, "the tasks' beginnings")
    faults.start()

    # when
    for worker in leaving.values():
        worker.signal(signal.SIGTERM)

    # then
    for queue, task_id in task_ids.items():
        wait_until(lambda queue=queue: faults.begun(queue) == 2, 20, f"the second beginning on {queue}")
        wait_until(lambda task_id=task_id: faults.succeeded(task_id), 20, "success")
        wait_until(lambda queue=queue: not leaving[queue].alive, 10, "the worker's end")
        assert (faults.begun(queue), faults.done(queue)) == (2, 1)


def test_an_idle_worker_leaves_at_once(faults: Any, wait_until: Any) -> None:
    (worker,) = faults.start(environment={"SOFT_SHUTDOWN_S": "30"})

    worker.signal(signal.SIGTERM)

    wait_until(lambda: not worker.alive, 10, "the worker's end")
    assert worker.process.returncode == 0
