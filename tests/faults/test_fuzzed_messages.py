"""A thousand mangled messages among a thousand good ones."""

from __future__ import annotations

import base64
import copy
import json
import random
import uuid
from typing import Any

import pytest

from timbral.queue import dead_letters

pytestmark = [pytest.mark.faults, pytest.mark.both_servers]

JUNK: list[Any] = [
    None,
    True,
    -1,
    0,
    2**70,
    1e300,
    "",
    "junk",
    "\x00",
    "ü" * 300,
    [],
    [[]],
    ["x", 1],
    {},
    {"a": {"b": []}},
]


def message(name: str) -> dict[str, Any]:
    task_id = str(uuid.uuid4())
    body = json.dumps([[], {"name": name}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    return {
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": "fault.work",
            "id": task_id,
            "shadow": None,
            "eta": None,
            "expires": None,
            "group": None,
            "group_index": None,
            "retries": 0,
            "timelimit": [None, None],
            "root_id": task_id,
            "parent_id": None,
            "argsrepr": "()",
            "kwargsrepr": "{}",
            "origin": "test",
            "ignore_result": None,
            "replaced_task_nesting": 0,
            "stamped_headers": None,
            "stamps": {},
        },
        "properties": {
            "correlation_id": task_id,
            "reply_to": task_id,
            "delivery_mode": 2,
            "priority": 0,
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": "celery"},
            "delivery_tag": str(uuid.uuid4()),
        },
    }


def mangled(rng: random.Random) -> bytes:
    """A message with something wrong in its envelope, its headers or its body, or with broken bytes."""
    made = message("bad")
    kind = rng.randrange(4)
    if kind == 0:  # the bytes
        raw = bytearray(json.dumps(made).encode())
        for _ in range(rng.randint(1, 40)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        return bytes(raw[: rng.randint(1, len(raw))])
    if kind == 1:  # the envelope
        place = rng.choice([made, made["properties"], made["properties"]["delivery_info"]])
    elif kind == 2:  # the headers
        place = made["headers"]
    else:  # the body
        body = json.loads(base64.b64decode(made["body"]))
        if rng.random() < 0.5:
            body[rng.randrange(3)] = copy.deepcopy(rng.choice(JUNK))
        else:
            body[rng.randint(1, 2)][rng.choice(["name", "wrong", "callbacks", "chain", "chord"])] = rng.choice(JUNK)
        made["body"] = base64.b64encode(json.dumps(body).encode()).decode()
        return json.dumps(made).encode()
    for _ in range(rng.randint(1, 3)):
        name = rng.choice(list(place))
        if rng.random() < 0.3:
            del place[name]
            if not place:
                break
        else:
            value = copy.deepcopy(rng.choice(JUNK))
            # Another app's task would be put back for it (tests/workers/test_key_prefix.py): this one is misspelt.
            place[name] = "fault.wrok" if name == "task" and isinstance(value, str) else value
    return json.dumps(made).encode()


def test_all_good_messages_are_done_and_all_bad_ones_parked_or_refused(
    faults: Any, wait_until: Any, observed: Any
) -> None:
    # given
    rng = random.Random(4)
    good = [json.dumps(message(f"good{n}")).encode() for n in range(1000)]
    values = good + [mangled(rng) for _ in range(1000)]
    rng.shuffle(values)
    workers = faults.start(2)
    pids = [worker.children() for worker in workers]

    # when
    with faults.client() as client:
        for start in range(0, len(values), 100):
            client.lpush("celery", *values[start : start + 100])

        # then: every good one was done, once
        wait_until(lambda: client.llen("celery") == 0 and faults.held() == 0, 60, "the end of the queue")
        counts = {name.decode(): int(times) for name, times in client.hgetall("test:done").items()}
        assert {name: times for name, times in counts.items() if name.startswith("good")} == {
            f"good{n}": 1 for n in range(1000)
        }

        # and: of the bad ones each was parked, or refused by its task, or was bad in nothing that matters
        letters = dead_letters.count(client)
        results = [json.loads(client.get(key)) for key in client.scan_iter("celery-task-meta-*", count=1000)]
        failures = [result["result"]["exc_message"] for result in results if result["status"] == "FAILURE"]
        parked = [
            said for said in failures if len(said) == 2 and isinstance(said[1], list)
        ]  # a MessageError: its message was parked
        refused = len(failures) - len(parked)
        observed(
            "1,000 mangled messages among 1,000 good ones",
            f"1,000 good done once; {letters} parked, {refused} refused by their task, {1000 - letters - refused} "
            f"harmless; no worker lost",
        )
        assert letters > 600
        assert letters + refused <= 1000
        assert len(parked) > 100, "whoever waits for a parked task is told"
        assert all(result["status"] in ("SUCCESS", "FAILURE") for result in results)

    # and: no worker and no process of a pool was lost
    assert [worker.children() for worker in workers] == pids
    assert all(worker.alive for worker in workers)
