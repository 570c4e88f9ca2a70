"""kill -9 of a process of the pool and of a whole worker."""

from __future__ import annotations

import time
from typing import Any

import pytest

from timbral import keys
from timbral.queue import dead_letters

pytestmark = pytest.mark.faults


def test_a_task_whose_process_is_killed_is_done_once_more(faults: Any, wait_until: Any, observed: Any) -> None:
    # given
    (worker,) = faults.start()
    task_id = faults.send("work", "slow", seconds=3, again=0.2)
    wait_until(lambda: faults.begun("slow") == 1, 20, "the task's beginning")

    # when
    killed_at = time.monotonic()
    worker.kill_child()

    # then
    wait_until(lambda: faults.succeeded(task_id), 30, "success after the kill")
    took_s = time.monotonic() - killed_at
    assert (faults.begun("slow"), faults.done("slow")) == (2, 1)
    observed("kill -9 of a pool's process", f"done again {took_s:.1f} s after the kill; begun 2 times, done once")
    wait_until(lambda: faults.held() == 0, 5, "the acknowledgement")
    with faults.client() as client:
        assert not client.exists(keys.deliveries(task_id))
        assert not client.exists(keys.DEAD_LETTERS)


def test_another_worker_takes_over_from_a_killed_one(faults: Any, wait_until: Any, observed: Any) -> None:
    # given: a visibility timeout of 4 s and a look every half second
    faults.start(2)
    task_id = faults.send("work", "slow", seconds=3, again=0.2)
    wait_until(lambda: faults.begun("slow") == 1, 20, "the task's beginning")

    # when
    faults.holder(task_id).kill()
    killed_at = time.monotonic()

    # then
    wait_until(lambda: faults.begun("slow") == 2, 20, "the second beginning")
    took_s = time.monotonic() - killed_at
    wait_until(lambda: faults.succeeded(task_id), 20, "success")
    assert (faults.begun("slow"), faults.done("slow")) == (2, 1)
    observed(
        "kill -9 of a whole worker, VT 4 s, look 0.5 s", f"taken over after {took_s:.1f} s; begun 2 times, done once"
    )


def test_a_message_that_kills_its_process_is_parked_after_three_deliveries(
    faults: Any, wait_until: Any, observed: Any
) -> None:
    # given: poison in front of, and among, proper work
    faults.start(2)
    before = faults.send("work", "before")
    poison = faults.send("kill_child", "poison")
    others = [faults.send("work", f"other{n}") for n in range(20)]

    # then: it ran three times, and is parked with its reason
    wait_until(lambda: faults.result(poison).get("status") == "FAILURE", 30, "the failure's record")
    assert faults.begun("poison") == 3
    failure = faults.result(poison)["result"]
    assert failure["exc_type"] == "DeadLetterError"
    assert failure["exc_message"][0] == poison
    with faults.client() as client:
        letter = dead_letters.show(client, poison)
        assert (letter.kind, letter.task, letter.deliveries, letter.queue) == (
            "poison",
            "fault.kill_child",
            3,
            "celery",
        )
        assert letter.args == '{"name": "poison"}'
        assert "3 times" in letter.reason
        wait_until(lambda: not client.exists(keys.deliveries(poison)), 10, "the end of its count")

    # and the rest flowed
    wait_until(lambda: all(map(faults.succeeded, [before, *others])), 30, "the other tasks")
    observed("a message that kills its process", "parked after 3 executions; the 21 tasks around it done")
    assert faults.held() == 0


def test_a_message_that_kills_its_whole_worker_is_parked_by_the_next_ones(
    faults: Any, wait_until: Any, observed: Any
) -> None:
    # given: poison that takes its worker with it; as many workers as it may kill, and one more
    faults.start(4, environment={"VISIBILITY_TIMEOUT_S": "2"})
    poison = faults.send("kill_worker", "poison")

    # then
    wait_until(lambda: faults.result(poison).get("status") == "FAILURE", 45, "the failure's record")
    assert faults.begun("poison") == 3
    assert sum(worker.alive for worker in faults.fleet.workers) == 1
    observed("a message that kills its whole worker", "parked after 3 executions and 3 workers; the fourth goes on")
    with faults.client() as client:
        assert [letter.letter_id for letter in dead_letters.list_letters(client)] == [poison]
    task_id = faults.send("work", "after")
    wait_until(lambda: faults.succeeded(task_id), 20, "the next task")


def test_who_was_there_each_time_a_worker_was_killed_is_not_parked_with_the_culprit(
    faults: Any, wait_until: Any, observed: Any
) -> None:
    # given: one worker of two processes, so that poison takes an innocent task with it; two deliveries are all
    def start() -> Any:
        (worker,) = faults.start(concurrency=2, environment={"VISIBILITY_TIMEOUT_S": "2", "MAX_DELIVERIES": "2"})
        return worker

    worker = start()
    innocent = faults.send("work", "innocent", seconds=3)
    wait_until(lambda: faults.begun("innocent") == 1, 20, "the innocent's beginning")
    poison = faults.send("kill_worker", "poison")

    # when: each worker that is lost is replaced by another, until the poison is parked
    def parked() -> bool:
        nonlocal worker
        if not worker.alive:
            worker = start()
        return faults.result(poison).get("status") == "FAILURE"

    wait_until(parked, 60, "the failure's record")

    # then
    wait_until(lambda: faults.succeeded(innocent), 30, "the innocent's success")
    assert faults.begun("poison") == 2
    assert faults.begun("innocent") <= 3
    observed(
        "the same beside an innocent task, 2 deliveries",
        f"poison parked; innocent done, begun {faults.begun('innocent')} times",
    )
    with faults.client() as client:
        assert [letter.letter_id for letter in dead_letters.list_letters(client)] == [poison]


def test_a_dead_letter_sent_again_is_done_and_counted_anew(faults: Any, wait_until: Any) -> None:
    # given: a task that kills its process three times, and would succeed then
    faults.start()
    task_id = faults.send("kill_child", "late", times=3, queue="batch")
    wait_until(lambda: faults.result(task_id).get("status") == "FAILURE", 30, "the failure's record")

    # when
    with faults.client() as client:
        assert dead_letters.send_again(client, task_id) == task_id

    # then
    wait_until(lambda: faults.succeeded(task_id), 20, "success")
    assert (faults.begun("late"), faults.done("late")) == (4, 1)
    with faults.client() as client:
        assert dead_letters.count(client) == 0


def test_retries_that_a_task_asks_for_are_no_crashes(faults: Any, wait_until: Any) -> None:
    # given: more retries than a message may have deliveries
    faults.start()

    # when
    task_id = faults.send("retry", "patient", times=6)

    # then
    wait_until(lambda: faults.succeeded(task_id), 20, "success")
    assert (faults.begun("patient"), faults.done("patient")) == (7, 1)
    stored = faults.result(task_id)
    assert (stored["name"], stored["retries"]) == ("fault.retry", 6)
    assert not {"args", "kwargs"} & stored.keys(), "a result carries no copy of the arguments"
    wait_until(lambda: faults.held() == 0, 5, "the acknowledgement")
    with faults.client() as client:
        assert not client.exists(keys.deliveries(task_id))
