"""What counts as a delivery, and what a worker holds without working on it."""

from __future__ import annotations

import base64
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from timbral.queue import dead_letters


def test_tasks_that_never_began_are_not_parked_however_often_their_holder_is_killed(
    faults: Any, wait_until: Any, observed: Any
) -> None:
    # given: a task that is to begin in an hour, in the hands of one worker after the other
    task_id = str(uuid.uuid4())
    later = datetime.now(UTC) + timedelta(hours=1)
    faults.app.send_task("fault.work", kwargs={"name": "later"}, task_id=task_id, queue="celery", eta=later)
    for _ in range(4):
        (worker,) = faults.start(environment={"VISIBILITY_TIMEOUT_S": "2"})
        wait_until(lambda worker=worker: f"[{task_id}] received" in worker.log, 30, "its receipt")
        worker.kill()
    with faults.client() as client:
        assert (faults.begun("later"), dead_letters.count(client)) == (0, 0)

        # when: its time has come, as its message is made to say
        (tag, held), *others = client.hgetall("unacked").items()
        assert others == []
        moved = held.replace(later.isoformat().encode(), datetime.now(UTC).isoformat().encode())
        assert moved != held
        client.hset("unacked", tag, moved)
    faults.start(environment={"VISIBILITY_TIMEOUT_S": "2"})

    # then
    wait_until(lambda: faults.succeeded(task_id), 60, "success")
    assert (faults.begun("later"), faults.done("later")) == (1, 1)
    with faults.client() as client:
        assert dead_letters.count(client) == 0
    observed(
        "a task that is to begin in an hour, its holder killed four times", "begun once, at its time; nothing parked"
    )


def test_what_waits_for_a_rate_limit_is_held_and_not_taken_for_lost(
    faults: Any, wait_until: Any, observed: Any
) -> None:
    # given: a limit slower than one task in a visibility timeout, and another worker that would take what looks lost
    environment = {"VISIBILITY_TIMEOUT_S": "2"}
    workers = faults.start(2, environment=environment)
    faults.app.control.rate_limit("fault.work", "20/m", reply=True, timeout=5)
    sent = [faults.send("work", f"slow{n}") for n in range(4)]

    # then
    wait_until(lambda: all(map(faults.succeeded, sent)), 90, "all tasks")
    received = sum(worker.log.count(f"[{task_id}] received") for worker in workers for task_id in sent)
    assert received == 4, "each was received once"
    assert all(faults.begun(f"slow{n}") == 1 for n in range(4))
    observed("a rate limit of one task in 3 s, VT 2 s", "each received once, done once")


@pytest.mark.parametrize("kwargs", [None, [], "text"])
def test_who_waits_for_a_message_that_cannot_be_worked_on_is_told(faults: Any, wait_until: Any, kwargs: Any) -> None:
    faults.start()
    task_id = _push(faults, [[], kwargs, {}], {"task": "train_model", "id": "{id}"})

    wait_until(lambda: faults.result(task_id).get("status") == "FAILURE", 20, "its result")

    failure = faults.result(task_id)["result"]
    assert failure["exc_type"] == "MessageError"
    assert "kwargs is not an object" in json.dumps(failure["exc_message"])


def test_protocol_1_is_taken(faults: Any, wait_until: Any, observed: Any) -> None:
    # given: as gocelery sends it
    faults.start()
    body = {
        "id": "{id}",
        "task": "fault.work",
        "args": [],
        "kwargs": {"name": "go"},
        "retries": 0,
        "eta": None,
        "expires": None,
    }

    task_id = _push(faults, body, {})

    wait_until(lambda: faults.succeeded(task_id), 20, "success")
    assert faults.done("go") == 1
    bad = _push(faults, body | {"kwargs": None}, {})
    wait_until(lambda: faults.result(bad).get("status") == "FAILURE", 20, "the refusal")
    assert faults.result(bad)["result"]["exc_type"] == "MessageError"
    observed("messages of protocol 1", "done; one that cannot be is a MessageError")


def _push(faults: Any, body: Any, headers: dict[str, Any]) -> str:
    task_id = str(uuid.uuid4())
    text = json.dumps(body).replace("{id}", task_id)
    message = {
        "body": base64.b64encode(text.encode()).decode(), "content-type": "application/json", "content-encoding": "utf-8",
        "headers": json.loads(json.dumps(headers).replace("{id}", task_id)),
        "properties": {
            "body_encoding": "base64", "delivery_tag": str(uuid.uuid4()), "delivery_mode": 2, "correlation_id": task_id,
            "delivery_info": {"exchange": "celery", "routing_key": "celery", "priority": 0},
        },
    }  # fmt: skip
    with faults.client() as client:
        client.lpush("celery", json.dumps(message))
    return task_id
