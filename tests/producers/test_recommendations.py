"""Reading recommendations, and blocks that count from the next read on."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import redis

import producers
from timbral import keys
from timbral.errors import ParameterError
from timbral.stack.embedded_server import EmbeddedServer


def listed(*item_ids: int | str) -> list[dict[str, Any]]:
    return [{"item_id": item_id, "score": 1.0 - place / 10} for place, item_id in enumerate(item_ids)]


def store(client: redis.Redis, name: object, *item_ids: int | str) -> None:
    client.set(f"recommendations:{name}", json.dumps(listed(*item_ids)), ex=60)


def test_a_user_gets_the_stored_list_best_first_and_a_cold_one_none(
    connected: EmbeddedServer, client: redis.Redis
) -> None:
    store(client, "user:7", 3, "b", 1)
    assert producers.get_recommendations(7) == listed(3, "b", 1)
    assert producers.get_recommendations(8) is None
    assert producers.get_popular() is None


def test_a_cold_user_gets_what_is_popular_where_asked(connected: EmbeddedServer, client: redis.Redis) -> None:
    store(client, "popular", 1, 2)
    store(client, "user:7", 3)
    assert producers.get_recommendations(8, popular_if_cold=True) == listed(1, 2)
    assert producers.get_recommendations(7, popular_if_cold=True) == listed(3)
    assert producers.get_recommendations_many([7, 8], popular_if_cold=True) == {7: listed(3), 8: listed(1, 2)}
    assert producers.get_popular() == listed(1, 2)
    client.set("recommendations:user:9", "[]")
    assert producers.get_recommendations(9, popular_if_cold=True) == []


def test_what_is_popular_comes_without_what_the_user_has_just_played(
    connected: EmbeddedServer, client: redis.Redis
) -> None:
    store(client, "popular", 1, "1", 2, 3)
    store(client, "user:7", 1, 2)
    producers.record_plays([{"user_id": 8, "item_id": 1}, {"user_id": 8, "item_id": 3}, {"user_id": 7, "item_id": 1}])

    assert [item["item_id"] for item in producers.get_recommendations(8, popular_if_cold=True) or []] == ["1", 2]
    found = producers.get_recommendations_many([7, 8, 9], popular_if_cold=True)
    assert {user: len(items or []) for user, items in found.items()} == {7: 2, 8: 2, 9: 4}
    client.delete(keys.plays_user(8))
    client.set(keys.plays_user(8), "no hash")
    assert producers.get_recommendations(8, popular_if_cold=True) is None, "plays that cannot be read are not none"


def test_blocked_items_are_gone_from_the_next_read_on_and_the_rest_keeps_its_scores(
    connected: EmbeddedServer, client: redis.Redis
) -> None:
    store(client, "user:7", 1, "1", 2, 3)
    store(client, "user:8", 1, "1", 2, 3)
    store(client, "popular", 2, 4)
    assert producers.block_items(7, [1]) == 1
    assert producers.block_items(None, np.array([3])) == 1
    assert producers.get_recommendations(7) == [item for item in listed(1, "1", 2, 3) if item["item_id"] in ("1", 2)]
    assert [item["item_id"] for item in producers.get_recommendations(8) or []] == [1, "1", 2]
    assert producers.block_items(None, [2]) == 1
    assert [item["item_id"] for item in producers.get_popular() or []] == [4]
    found = producers.get_recommendations_many([7, 8, 9], popular_if_cold=True)
    assert {user: [item["item_id"] for item in items or []] for user, items in found.items()} == {
        7: ["1"],
        8: [1, "1"],
        9: [4],
    }
    assert producers.blocked_items(7) == {1}
    assert producers.blocked_items() == {2, 3}
    assert producers.unblock_items(7, [1, 99]) == 1
    assert producers.unblock_items(None, [2, 3]) == 2
    assert producers.get_recommendations(7) == listed(1, "1", 2, 3)


def test_a_block_of_many_users_is_read_in_one_round_trip(connected: EmbeddedServer, client: redis.Redis) -> None:
    for user_id in range(100):
        store(client, f"user:{user_id}", 1, 2)
    producers.get_recommendations(1)
    before = client.info("stats")["total_reads_processed"]
    assert len(producers.get_recommendations_many(range(100), popular_if_cold=True)) == 100
    assert client.info("stats")["total_reads_processed"] - before <= 4


def test_more_users_than_one_batch_are_all_read(
    connected: EmbeddedServer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timbral.utils.redis_connector.BATCH", 3)
    for user_id in range(8):
        store(client, f"user:{user_id}", user_id)
    assert producers.get_recommendations_many(range(8)) == {user_id: listed(user_id) for user_id in range(8)}
    assert producers.get_recommendations_many([]) == {}


def test_what_is_stored_and_is_no_list_reads_as_none(connected: EmbeddedServer, client: redis.Redis) -> None:
    for user_id, value in enumerate(("not json", "7", '{"a": 1}', '["a"]', '[{"score": 1}]', "null")):
        client.set(f"recommendations:user:{user_id}", value)
    assert set(producers.get_recommendations_many(range(6)).values()) == {None}


@pytest.mark.parametrize("wrong", [1.5, True, None, b"a", [1]])
def test_an_id_that_is_neither_int_nor_text_is_refused(
    connected: EmbeddedServer, client: redis.Redis, wrong: Any
) -> None:
    with pytest.raises(ParameterError, match="an id must be an int or a string"):
        producers.block_items(1, [wrong])
    if wrong is not None:
        with pytest.raises(ParameterError, match="an id must be an int or a string"):
            producers.block_items(wrong, [1])
    assert client.dbsize() == 0
    assert producers.block_items(1, []) == 0
