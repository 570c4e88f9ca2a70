"""Hiding: whoever reads through timbral sees a hidden item no more, and no list is rewritten for it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import redis

import producers
from timbral import keys
from timbral.stack.embedded_server import EmbeddedServer
from timbral.utils.redis_connector import RedisConnector


def listed(*item_ids: int | str) -> list[dict[str, object]]:
    return [{"item_id": item_id, "score": 1.0} for item_id in item_ids]


@pytest.fixture
def stored(connected: EmbeddedServer, client: redis.Redis) -> Iterator[RedisConnector]:
    for user_id in range(50):
        client.set(keys.recommendations_user(user_id), json.dumps(listed(1, "1", 2, user_id + 10)), ex=60)
    client.set(keys.RECOMMENDATIONS_POPULAR, json.dumps(listed(2, 1, 3)), ex=60)
    client.set(keys.similar_item(3), json.dumps(listed(2, 4)), ex=60)
    with RedisConnector(connected.url) as connector:
        yield connector


def items(found: object) -> list[object]:
    assert isinstance(found, list)
    return [entry["item_id"] for entry in found]


def test_a_hidden_item_is_in_no_list_that_is_read_from_then_on(stored: RedisConnector, client: redis.Redis) -> None:
    before = client.get(keys.recommendations_user(7))

    assert producers.hide_items([1, 2]) == 2

    assert items(producers.get_recommendations(7)) == ["1", 17]
    assert all({1, 2}.isdisjoint(items(one)) for one in producers.get_recommendations_many(range(50)).values())
    assert items(producers.get_recommendations("cold", popular_if_cold=True)) == [3]
    assert items(producers.get_popular()) == [3]
    assert items(producers.get_similar(3)) == [4]
    assert items(stored.get_recommendations(7)) == ["1", 17]
    assert all({1, 2}.isdisjoint(items(one)) for one in (stored.get_recommendations_many(range(50)) or {}).values())
    assert producers.hidden_items() == {1, 2}
    assert client.get(keys.recommendations_user(7)) == before


def test_what_is_shown_again_is_in_the_lists_as_before(stored: RedisConnector) -> None:
    producers.hide_items([1, 2])

    assert producers.unhide_items([1, 2, 99]) == 2

    assert items(producers.get_recommendations(7)) == [1, "1", 2, 17]
    assert items(stored.get_recommendations(7)) == [1, "1", 2, 17]


def test_the_connector_leaves_out_what_is_blocked_for_its_user_alone(stored: RedisConnector) -> None:
    producers.block_items(7, [1])

    assert items(stored.get_recommendations(7)) == ["1", 2, 17]
    assert items(stored.get_recommendations(8)) == [1, "1", 2, 18]


def test_what_the_connector_holds_and_is_no_list_of_items_is_read_as_it_is(stored: RedisConnector) -> None:
    producers.hide_items([1])
    for value in ([1, 2], {"item_id": 1}, "text", [[1, 0.5]], [True, None], [{"item_id": [1]}], [{"item_id": True}]):
        stored.set_recommendations(7, value)
        assert stored.get_recommendations(7) == value


def test_reading_costs_no_more_where_a_hundred_thousand_items_are_hidden(
    stored: RedisConnector, client: redis.Redis
) -> None:
    def bytes_of_a_read() -> int:
        before = client.info("stats")["total_net_output_bytes"]
        producers.get_recommendations(7)
        return int(client.info("stats")["total_net_output_bytes"]) - int(before)

    producers.hide_items([1])
    few = min(bytes_of_a_read() for _ in range(3))
    producers.hide_items(range(100_000, 200_000))
    many = min(bytes_of_a_read() for _ in range(3))

    assert many < few + 500
