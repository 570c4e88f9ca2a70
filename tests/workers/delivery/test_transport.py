from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from kombu import Connection

from timbral.queue import dead_letters
from timbral.stack.embedded_server import EmbeddedServer
from workers.delivery import sent_ahead
from workers.delivery.transport import Channel, install


@pytest.fixture
def channel(redis_server: EmbeddedServer) -> Iterator[Channel]:
    install()
    options = {"visibility_timeout": 4, "unacked_restore_interval": 1}
    with Connection(f"{redis_server.url}/0", transport_options=options) as connection:
        yield connection.channel()


def message(task_id: str = "t1", task: str = "fault.work", **delivery_info: str) -> bytes:
    info = {"exchange": "", "routing_key": "celery", **delivery_info}
    properties = {"delivery_tag": "sent", "delivery_info": info, "body_encoding": "base64"}
    headers = {"task": task, "id": task_id}
    return json.dumps(
        {"body": "W10=", "content-type": "application/json", "headers": headers, "properties": properties}
    ).encode()


def test_each_delivery_has_a_tag_of_its_own_and_its_count(channel: Any, client: redis.Redis) -> None:
    client.lpush("celery", message())

    first = channel.basic_get("celery")
    channel.basic_reject(first.delivery_tag, requeue=True)
    second = channel.basic_get("celery")

    assert len({first.delivery_tag, second.delivery_tag, "sent"}) == 3
    assert (first.begun, second.begun) == (0, 0), "what was not begun counts for nothing"
    for each in (first, second):
        channel.qos.unacked.begin(each.delivery_tag, "t1")
        sent_ahead.read_replies()
    second.crashed = True
    channel.basic_reject(second.delivery_tag, requeue=True)
    third = channel.basic_get("celery")
    assert third.begun == 2
    assert third.headers["redelivered"]
    channel.basic_ack(third.delivery_tag)
    assert not client.keys("*unacked*")
    assert not client.keys("deliveries:*")


def test_that_a_refresh_is_held_is_noted_without_waiting_and_before_that_it_is_done(
    channel: Any, client: redis.Redis
) -> None:
    for _ in range(50):
        client.lpush("celery", message("refresh_played-1", task="refresh_played"))

        taken = channel.basic_get("celery")
        assert (taken.begun, taken.work_id) == (0, "same")
        channel.basic_ack(taken.delivery_tag)

        assert not client.keys("*unacked*")

    client.lpush("celery", message("refresh_played-1", task="refresh_played"))
    taken = channel.basic_get("celery")
    sent_ahead.read_replies()
    assert client.hexists("unacked", taken.delivery_tag)
    assert client.zscore("unacked_index", taken.delivery_tag)


def test_a_refresh_that_comes_back_brings_its_count(channel: Any, client: redis.Redis) -> None:
    client.lpush("celery", message("refresh_played-1", task="refresh_played"))

    first = channel.basic_get("celery")
    channel.qos.unacked.begin(first.delivery_tag, "refresh_played-1")
    first.crashed = True
    channel.basic_reject(first.delivery_tag, requeue=True)
    second = channel.basic_get("celery")

    assert second.begun == 1
    assert second.headers["redelivered"]
    channel.basic_ack(second.delivery_tag)
    assert not client.keys("*unacked*")
    assert not client.keys("deliveries:*")


def test_a_message_goes_back_to_the_queue_that_it_came_from(channel: Any, client: redis.Redis) -> None:
    client.lpush("batch", message(exchange="nowhere", routing_key="nobody"))

    taken = channel.basic_get("batch")
    channel.basic_reject(taken.delivery_tag, requeue=True)

    assert client.llen("batch") == 1
    assert not client.exists("nobody")


def test_an_acknowledgement_works_after_its_channel_was_closed(channel: Any, client: redis.Redis) -> None:
    # given: a task that runs on while its connection is lost
    client.lpush("celery", message())
    taken = channel.basic_get("celery")
    qos = channel.qos
    qos._delivered.clear()
    channel.close()

    # when
    qos.ack(taken.delivery_tag)

    # then
    assert not client.exists("unacked", "unacked_index", "deliveries:t1")


def test_an_acknowledgement_that_redis_does_not_take_is_made_up_for(
    channel: Any, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    client.lpush("celery", message())
    taken = channel.basic_get("celery")
    qos = channel.qos
    settle = qos.unacked.settle

    def away(*_: object) -> None:
        raise redis.ConnectionError("away")

    # when
    monkeypatch.setattr(qos.unacked, "settle", away)
    channel.basic_ack(taken.delivery_tag)
    assert client.hlen("unacked") == 1
    monkeypatch.setattr(qos.unacked, "settle", settle)
    qos.catch_up()

    # then
    assert not client.exists("unacked", "unacked_index", "deliveries:t1")


def test_garbage_in_front_of_a_message_is_parked_on_the_way_to_it(channel: Any, client: redis.Redis) -> None:
    client.lpush("celery", b"\xff", b"[]", message())

    assert channel.basic_get("celery").headers["id"] == "t1"
    assert dead_letters.count(client) == 2


def test_a_full_redis_loses_no_message_that_was_taken(channel: Any, client: redis.Redis) -> None:
    client.lpush("celery", message())
    channel.basic_get("celery")
    client.lpush("celery", message("t2"))
    client.config_set("maxmemory", 1)
    try:
        taken = channel.basic_get("celery")
        assert taken.headers["id"] == "t2"
        channel.qos.restore_visible()
        channel.basic_ack(taken.delivery_tag)
    finally:
        client.config_set("maxmemory", 0)
