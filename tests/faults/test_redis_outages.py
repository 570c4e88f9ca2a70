"""Redis killed and started again, frozen, and cutting its connections."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.both_servers]


def test_nothing_is_lost_when_redis_is_killed_while_the_fleet_is_idle(
    faults: Any, wait_until: Any, observed: Any
) -> None:
    # given: one message done, one waiting for a worker that does not exist yet
    (worker,) = faults.start(queues="celery")
    first = faults.send("work", "first")
    wait_until(lambda: faults.succeeded(first), 20, "the first task")
    waiting = faults.send("work", "waiting", queue="batch")

    # when
    n_logged = len(worker.log)
    faults.server.kill()
    wait_until(lambda: len(worker.log) > n_logged, 20, "the worker's word that Redis is away")
    faults.server.start()
    back_at = time.monotonic()

    # then: the worker goes on by itself, and the message is still there
    second = faults.send("work", "second")
    wait_until(lambda: faults.succeeded(second), 20, "a task after the outage")
    took_s = time.monotonic() - back_at
    faults.start(queues="batch")
    wait_until(lambda: faults.succeeded(waiting), 20, "the message that waited")
    assert [faults.begun(name) for name in ("first", "second", "waiting")] == [1, 1, 1]
    observed(
        "Redis kill -9 and restart, idle", f"next task done {took_s:.1f} s after the restart; the waiting message kept"
    )


def test_a_running_task_survives_a_death_of_redis_that_outlasts_the_visibility_timeout_and_runs_once(
    faults: Any, wait_until: Any, observed: Any
) -> None:
    # given: a visibility timeout of 4 s, and a second worker that would take whatever looks lost
    faults.start(2)
    outage_s = 6
    task_id = faults.send("work", "long", seconds=outage_s + 4)
    wait_until(lambda: faults.begun("long") == 1, 20, "the task's beginning")

    # when
    faults.server.kill()
    time.sleep(outage_s)  # the fault's own length: longer than the visibility timeout
    faults.server.start()
    back_at = time.monotonic()
    after = faults.send("work", "after")

    # then
    wait_until(lambda: faults.succeeded(after), 20, "a task after the outage")
    took_s = time.monotonic() - back_at
    wait_until(lambda: faults.succeeded(task_id), 30, "success")
    assert (faults.begun("long"), faults.done("long")) == (1, 1)
    wait_until(lambda: faults.held() == 0, 15, "the acknowledgement")
    observed(
        "the same mid-task, away for 6 s with VT 4 s",
        f"next task done after {took_s:.1f} s; the running one begun once, done once",
    )
    assert all(worker.alive for worker in faults.fleet.workers)


def test_a_result_is_stored_and_acknowledged_after_an_outage_at_the_end_of_its_task(
    faults: Any, wait_until: Any
) -> None:
    # given
    faults.start()
    task_id = faults.send("work", "ending", seconds=(task_s := 2))
    wait_until(lambda: faults.begun("ending") == 1, 20, "the task's beginning")

    # when: the task ends while Redis is away
    faults.server.kill()
    time.sleep(task_s + 1)  # the fault's own length: past the end of the task, which nobody can be asked for
    faults.server.start()

    # then
    wait_until(lambda: faults.succeeded(task_id), 30, "success")
    wait_until(lambda: faults.held() == 0, 15, "the acknowledgement")
    assert (faults.begun("ending"), faults.done("ending")) == (1, 1)


def freeze(faults: Any, wait_until: Any, observed: Any, frozen_s: float) -> None:
    """Freeze the server during a task and during idleness; everything goes on within 5 s, once."""
    # given
    faults.start(2)
    task_id = faults.send("work", "long", seconds=frozen_s + 3)
    wait_until(lambda: faults.begun("long") == 1, 20, "the task's beginning")

    # when
    os.kill(faults.server.process.pid, signal.SIGSTOP)
    try:
        time.sleep(frozen_s)  # the fault's own length, in visibility timeouts
    finally:
        os.kill(faults.server.process.pid, signal.SIGCONT)
    back_at = time.monotonic()
    after = faults.send("work", "after")

    # then
    wait_until(lambda: faults.succeeded(after), 20, "a task after the thaw")
    took_s = time.monotonic() - back_at
    wait_until(lambda: faults.succeeded(task_id), 40, "success")
    assert (faults.begun("long"), faults.done("long"), faults.begun("after")) == (1, 1, 1)
    observed(
        f"Redis frozen {frozen_s:g} s mid-task, VT 4 s",
        f"next task done {took_s:.1f} s after the thaw; the running one begun once",
    )
    wait_until(lambda: faults.held() == 0, 15, "the acknowledgement")


def test_a_frozen_redis_takes_no_task_from_its_worker(faults: Any, wait_until: Any, observed: Any) -> None:
    freeze(faults, wait_until, observed, 10)  # two and a half visibility timeouts


@pytest.mark.soak
@pytest.mark.timeout(240)
def test_the_same_with_a_redis_frozen_for_a_minute(faults: Any, wait_until: Any, observed: Any) -> None:
    freeze(faults, wait_until, observed, 60)


def test_cut_connections_cost_no_message_and_make_none_run_twice(faults: Any, wait_until: Any, observed: Any) -> None:
    # given
    faults.start(2)
    task_id = faults.send("work", "long", seconds=8)
    wait_until(lambda: faults.begun("long") == 1, 20, "the task's beginning")

    # when: every connection is cut, five times, with work in between
    longest_s = 0.0
    for n in range(5):
        with faults.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
            client.client_kill_filter(_type="pubsub", skipme=True)
        cut_at = time.monotonic()
        between = faults.send("work", f"between{n}")
        wait_until(lambda between=between: faults.succeeded(between), 20, "a task after the cut")
        longest_s = max(longest_s, time.monotonic() - cut_at)

    # then
    wait_until(lambda: faults.succeeded(task_id), 30, "success")
    assert (faults.begun("long"), faults.done("long")) == (1, 1)
    assert [faults.begun(f"between{n}") for n in range(5)] == [1] * 5
    observed(
        "all connections cut, 5 times", f"next task done within {longest_s:.1f} s each time; the running one begun once"
    )
    wait_until(lambda: faults.held() == 0, 15, "the acknowledgements")
