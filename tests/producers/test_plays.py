"""The message that has users refreshed comes with their plays, in one step where one server has both."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import redis

import producers
from producers.broker import Broker
from producers.connections import connections
from timbral.queue import layout
from timbral.stack.embedded_server import EmbeddedServer


def refreshes(client: redis.Redis) -> list[dict[str, Any]]:
    waiting: Any = client.lrange(layout.queue_key(layout.own_queue("refresh_played")), 0, -1)
    return [message for message in map(json.loads, waiting) if message["headers"]["task"] == "refresh_played"]


def test_a_form_that_is_filled_in_is_the_message_that_is_published(
    connected: EmbeddedServer, client: redis.Redis
) -> None:
    broker = connections().broker
    form = broker.form("refresh_played")

    broker.publish("refresh_played", {}, 'an "id"')

    (published,), made = refreshes(client), [json.loads(form.filled_in('an "id"')) for _ in range(2)]
    tags = {message["properties"].pop("delivery_tag") for message in (published, *made)}
    assert made == [published, published]
    assert len(tags) == 3


def test_plays_bring_their_message_though_their_sender_can_do_nothing_more(
    connected: EmbeddedServer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Broker, "publish", lambda *_: pytest.fail("a second step, before which a sender may be gone"))

    producers.record_plays([{"user_id": 7, "item_id": 1}])
    producers.record_plays([{"user_id": 8, "item_id": 1}])

    assert len(refreshes(client)) == 1  # for both: nobody has taken it


def test_where_the_queue_is_apart_the_message_goes_there(redis_server: EmbeddedServer) -> None:
    queue_url = redis_server.url.removesuffix("/0") + "/1"
    producers.connect(redis_server.url, queue_url)
    try:
        producers.record_plays([{"user_id": 7, "item_id": 1}])

        with redis.Redis.from_url(queue_url) as queue, redis_server.client() as cache:
            assert (len(refreshes(queue)), len(refreshes(cache))) == (1, 0)
            queue.flushdb()
    finally:
        producers.connect()


def test_plays_are_recorded_though_the_queue_takes_no_message(
    connected: EmbeddedServer, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    client.set(layout.queue_key(layout.own_queue("refresh_played")), "no list")

    with caplog.at_level(logging.WARNING):
        assert producers.record_plays([{"user_id": 7, "item_id": 1}]) == 1

    assert client.llen("plays:user:7") == 1
    assert "waits for the workers' rescue" in caplog.text
