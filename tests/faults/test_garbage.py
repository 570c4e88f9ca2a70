"""What is no message, or none that can be worked on, on a queue, in ``unacked`` and on a channel."""

from __future__ import annotations

import base64
import json
import pickle
import uuid
from typing import Any

import pytest
from celery import Celery

from timbral import keys
from timbral.queue import dead_letters

pytestmark = [pytest.mark.faults, pytest.mark.both_servers]


def envelope(task: str = "fault.work", **changes: Any) -> dict[str, Any]:
    """A proper message of protocol 2, but for ``changes``: a dotted path (with __ for the dots) → a value, or ... for
    away."""
    task_id = str(uuid.uuid4())
    message: dict[str, Any] = {
        "body": base64.b64encode(json.dumps([[], {"name": "garbage"}, {}]).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": task,
            "id": task_id,
            "root_id": task_id,
            "retries": 0,
            "timelimit": [None, None],
        },
        "properties": {
            "correlation_id": task_id,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "celery"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }
    for path, value in changes.items():
        *parents, name = path.split("__")
        place = message
        for parent in parents:
            place = place[parent]
        if value is ...:
            place.pop(name.replace("_", "-") if name.startswith("content") else name)
        else:
            place[name.replace("_", "-") if name.startswith("content") else name] = value
    return message


def b64(value: Any) -> str:
    return base64.b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).decode()


GARBAGE: dict[str, bytes | dict[str, Any]] = {
    "raw bytes": b"\xff\xfe\x00\x80garbage",
    "text": b"hello",
    "an empty value": b"",
    "a number": b"42",
    "a list": b"[1, 2, 3]",
    "null": b"null",
    "a JSON string": b'"train_model"',
    "an empty object": b"{}",
    "JSON without an envelope": b'{"task": "train_model", "dataset": "plays.csv"}',
    "half a message": json.dumps(envelope()).encode()[:200],
    "deep nesting": b"[" * 100_000,
    "ten megabytes": b"x" * 10_000_000,
    "a kombu type that cannot be": b'{"__type__": "datetime", "__value__": "no"}',
    "no properties": envelope(properties=...),
    "no delivery_info": envelope(properties__delivery_info=...),
    "no delivery_tag": envelope(properties__delivery_tag=...),
    "no headers": envelope(headers=...),
    "headers are a list": envelope(headers=[1]),
    "no task": envelope(headers__task=...),
    "no id": envelope(headers__id=...),
    "an id that is a number": envelope(headers__id=7),
    "a task that is a list": envelope(headers__task=["fault.work"]),
    "protocol 1 without an id": envelope(headers={}, body=b64({"task": "fault.work", "args": [], "kwargs": {}})),
    "protocol 1 of null kwargs": envelope(headers={}, body=b64({"task": "fault.work", "id": "1", "kwargs": None})),
    "bad base64": envelope(body="!!!no"),
    "another body_encoding": envelope(properties__body_encoding="rot13"),
    "a body that is an object": envelope(body={"a": 1}),
    "an empty body": envelope(body=""),
    "a body that is not JSON": envelope(body=b64(b"\x00\x01")),
    "a body that is a number": envelope(body=b64(3)),
    "a body without embed": envelope(body=b64([[], {}])),
    "args that are text": envelope(body=b64(["no", {}, {}])),
    "kwargs that are a list": envelope(body=b64([[], [], {}])),
    "embed that is text": envelope(body=b64([[], {}, "no"])),
    "callbacks that are numbers": envelope(body=b64([[], {}, {"callbacks": [1]}])),
    "a pickle": envelope(content_type="application/x-python-serialize", body=b64(pickle.dumps([[], {}, {}]))),
    "an unknown content type": envelope(content_type="application/x-unknown"),
    "no content type": envelope(content_type=...),
    "an unknown compression": envelope(headers__compression="application/x-nothing"),
    "a broken compression": envelope(headers__compression="application/x-gzip"),
    "an eta that is no time": envelope(headers__eta="tomorrow"),
    "an eta that is a list": envelope(headers__eta=[]),
    "an expiry that is no time": envelope(headers__expires="never"),
    "a timelimit that is text": envelope(headers__timelimit="long"),
    "a timelimit of three": envelope(headers__timelimit=[1, 2, 3]),
    "a negative timelimit": envelope(headers__timelimit=[-5, None]),
    "retries that are text": envelope(headers__retries="many"),
    "a root id that is an object": envelope(headers__root_id={}),
    "stamps without end": envelope(headers__stamped_headers=[[["a"]]]),
    "a correlation id that is a list": envelope(properties__correlation_id=[]),
    "an unknown task": envelope("fault.worc"),
}


def test_garbage_on_every_queue_and_priority_is_parked_and_the_rest_flows(
    faults: Any, wait_until: Any, observed: Any
) -> None:
    # given: each kind once, spread over the queues and their lists of priorities
    places = [
        queue + step
        for queue in ("celery", "batch", "training")
        for step in ("", "\x06\x163", "\x06\x166", "\x06\x169")
    ]
    with faults.client() as client:
        for n, value in enumerate(GARBAGE.values()):
            client.lpush(places[n % len(places)], value if isinstance(value, bytes) else json.dumps(value))
    (worker,) = faults.start()
    good = [faults.send("work", f"good{n}", queue=queue) for n, queue in enumerate(["celery", "batch", "training"] * 4)]

    # then: the same worker process did the work and is alive
    wait_until(lambda: all(map(faults.succeeded, good)), 30, "the good tasks")
    with faults.client() as client:
        wait_until(lambda: dead_letters.count(client) == len(GARBAGE), 30, "a letter for each")
        letters = dead_letters.list_letters(client, limit=1000)
        assert worker.alive
        assert faults.begun("garbage") == 0, "none of it was executed"
        assert not any(client.exists(place) for place in places)
        assert faults.held() == 0

        # and: each letter says where from and why, and keeps no more of a body than is sensible
        assert all(letter.reason for letter in letters)
        assert {letter.queue for letter in letters} == {"celery", "batch", "training"}
        big = next(letter for letter in letters if letter.length == 10_000_000)
        assert len(big.body) == dead_letters.BODY_KEPT_BYTES
        assert not big.can_be_sent

        observed(
            f"{len(GARBAGE)} kinds of garbage over 3 queues × 4 priorities",
            "all parked, none executed, same worker, 12 good tasks done",
        )

        # and: whoever waits for the unknown task learns of it
        unknown = next(letter for letter in letters if letter.kind == "unknown_task")
        assert unknown.task == "fault.worc"
        assert faults.result(unknown.task_id)["result"]["exc_type"] == "NotRegistered"
        assert unknown.can_be_sent


def test_garbage_among_the_held_messages_is_parked_and_does_not_stop_the_looks(faults: Any, wait_until: Any) -> None:
    # given: in unacked, long lapsed: garbage of all kinds, an index without content, and behind it a proper message
    proper = envelope(body=b64([[], {"name": "rescued"}, {}]))
    with faults.client() as client:
        garbage = [
            b"\xff",
            b"3",
            b"[]",
            b"[1, 2, 3]",
            json.dumps([{"a": 1}, "", "celery"]),
            json.dumps([envelope(), "", ""]),
        ]
        for n, value in enumerate(garbage):
            client.hset("unacked", f"garbage{n}", value)
            client.zadd("unacked_index", {f"garbage{n}": n + 1})
        client.zadd("unacked_index", {"nothing": 50})
        client.hset("unacked", "proper", json.dumps([proper, "", "celery"]))
        client.zadd("unacked_index", {"proper": 100})

    # when
    (worker,) = faults.start()

    # then
    wait_until(lambda: faults.done("rescued") == 1, 30, "the proper message's task")
    with faults.client() as client:
        assert worker.alive
        assert dead_letters.count(client) == len(garbage)
        wait_until(lambda: not client.exists("unacked", "unacked_index"), 10, "nothing held")


def test_garbage_on_the_control_and_event_channels_is_dropped(faults: Any, wait_until: Any) -> None:
    # given
    (worker,) = faults.start()

    # when
    with faults.client() as client:
        for topic in ("/0.celery.pidbox", "/0.celeryev/worker.heartbeat"):
            for value in (
                b"\xff\xfe",
                b"hello",
                b"3",
                b"[]",
                b"{}",
                json.dumps(envelope(body="!!!")),
                json.dumps(envelope()),
            ):
                client.publish(topic, value)

    # then
    task_id = faults.send("work", "after")
    wait_until(lambda: faults.succeeded(task_id), 20, "the next task")
    control = Celery("control", broker=f"{faults.server.url}/0", set_as_current=False)
    pong = [{f"{worker.name}@test": {"ok": "pong"}}]
    wait_until(lambda: control.control.ping(timeout=1) == pong, 20, "an answer to ping")
    control.close()


def test_a_flood_of_garbage_does_not_fill_redis(client: Any) -> None:
    # given: a poison letter, older than the flood
    dead_letters.park(
        client, b"poison", kind="poison", reason="it kills", queue="celery", task="train_model", task_id="t1"
    )

    # when
    for n in range(dead_letters.GARBAGE_KEPT + 50):
        dead_letters.park(client, b"garbage %d" % n, kind="garbage", reason="no message", queue="celery")

    # then: the newest are kept, and the poison
    assert dead_letters.count(client) == dead_letters.GARBAGE_KEPT + 1
    assert client.zcard(keys.DEAD_LETTERS_GARBAGE) == dead_letters.GARBAGE_KEPT
    assert len(client.keys("dead_letters:*")) == dead_letters.GARBAGE_KEPT + 1
    assert dead_letters.show(client, "t1").task == "train_model"
    assert dead_letters.list_letters(client, limit=1)[0].body == b"garbage %d" % (dead_letters.GARBAGE_KEPT + 49)
