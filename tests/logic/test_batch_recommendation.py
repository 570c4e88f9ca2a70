"""Lists in the cache: right, whole, without what was seen or blocked, under original ids."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from taste import history, served_model

from timbral import keys
from timbral.logic.batch_recommendation import BatchRecommendation, Done
from timbral.logic.overlay import Overlay
from timbral.messages import Play
from timbral.versions.served_model import ServedModel

ROWS = history()


@pytest.fixture(scope="module")
def served() -> ServedModel:
    return served_model(ROWS)


def stored(client: redis.Redis, user_id: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(client.get(f"recommendations:user:{user_id}") or "null")
    return found


def test_lists_are_of_the_users_taste_best_first_without_what_they_played(
    client: redis.Redis, served: ServedModel
) -> None:
    assert BatchRecommendation(client, served, top_k=5).for_codes(0, 1000) == Done(120, 0)

    played: dict[int, set[int]] = {}
    for user, item, _ in ROWS:
        played.setdefault(user, set()).add(item)
    for user, seen in played.items():
        entries = stored(client, user)
        items = [entry["item_id"] for entry in entries]
        scores = [entry["score"] for entry in entries]
        assert len(set(items)) == 5
        assert not set(items) & seen
        assert {item // 100 for item in items} == {user % 4}
        assert scores == sorted(scores, reverse=True)
        assert 0 < client.ttl(keys.recommendations_user(user)) <= 21_600


def test_lists_equal_those_of_the_model(client: redis.Redis, served: ServedModel) -> None:
    BatchRecommendation(client, served, top_k=7).for_users([1003])

    items, scores = served.model.get_top_recommendations(int(served.user_ids.codes([1003])[0]), 7)
    assert [entry["item_id"] for entry in stored(client, 1003)] == served.item_ids.ids(items)
    assert [entry["score"] for entry in stored(client, 1003)] == pytest.approx(scores.tolist(), abs=1e-6)


def test_seen_items_come_where_they_are_asked_for(client: redis.Redis, served: ServedModel) -> None:
    BatchRecommendation(client, served, top_k=20, exclude_seen=False).for_users([1000])

    assert {item for user, item, _ in ROWS if user == 1000} <= {entry["item_id"] for entry in stored(client, 1000)}


def test_blocked_items_are_in_no_list(client: redis.Redis, served: ServedModel) -> None:
    batch = BatchRecommendation(client, served, top_k=3)
    batch.for_users([1000, 1004])
    first, second = (stored(client, 1000)[place]["item_id"] for place in (0, 1))
    client.sadd(keys.BLOCKS_ITEMS, keys.encode_id(first), keys.encode_id("unknown"))
    client.sadd(keys.blocks_user(1000), keys.encode_id(second))

    batch.for_users([1000, 1004])
    batch.write_popular()

    assert not {first, second} & {entry["item_id"] for entry in stored(client, 1000)}
    assert first not in {entry["item_id"] for entry in stored(client, 1004)}
    assert len(stored(client, 1000)) == 3
    assert first not in {entry["item_id"] for entry in json.loads(client.get(keys.RECOMMENDATIONS_POPULAR))}


def test_new_plays_change_the_list_and_are_not_recommended(client: redis.Redis, served: ServedModel) -> None:
    Overlay(client).add_plays("t", [Play(user_id=1000, item_id=item, plays=40) for item in range(300, 312)])
    Overlay(client).add_plays("u", [Play(user_id=5, item_id=201), Play(user_id=5, item_id=202)])
    Overlay(client).add_plays("v", [Play(user_id=6, item_id=424242)])

    done = BatchRecommendation(client, served, top_k=8).for_users([1000, 5, 6, 7])

    assert done == Done(2, 2)
    mine = {entry["item_id"] for entry in stored(client, 1000)}
    assert any(item // 100 == 3 for item in mine)
    assert not mine & set(range(300, 312))
    assert {entry["item_id"] // 100 for entry in stored(client, 5)} == {2}
    assert not client.exists("recommendations:user:6", "recommendations:user:7")


def test_a_list_that_runs_out_is_shorter_and_may_be_empty(client: redis.Redis) -> None:
    served = served_model([(1, "a", 1), (1, "b", 1), (2, "a", 1), (3, "c", 1)], n_components=2)
    BatchRecommendation(client, served, top_k=10).for_users([1, 2])
    client.sadd(keys.blocks_user(3), *(keys.encode_id(item) for item in ("a", "b")))
    BatchRecommendation(client, served, top_k=10).for_users([3])

    assert {entry["item_id"] for entry in stored(client, 1)} <= {"c"}
    assert {entry["item_id"] for entry in stored(client, 2)} <= {"b", "c"}
    assert client.get("recommendations:user:3") == b"[]"


def test_text_ids_with_any_character_are_good_json(client: redis.Redis) -> None:
    rows = [(f"u\n{n}", f'i"{{{n % 3}}}\\ é', 1) for n in range(6)] + [("u\n0", "other", 2), ("u\n1", "other", 2)]
    served = served_model(rows, n_components=2)
    BatchRecommendation(client, served).for_codes(0, 6)

    assert {entry["item_id"] for entry in stored(client, "u\n5")} <= {row[1] for row in rows}


def test_popular_is_what_most_users_have(client: redis.Redis) -> None:
    served = served_model(
        [(1, "a", 1), (1, "b", 50), (2, "a", 1), (3, "a", 1), (3, "c", 1), (4, "b", 9)], n_components=2
    )

    BatchRecommendation(client, served, top_k=2).write_popular()

    popular = json.loads(client.get(keys.RECOMMENDATIONS_POPULAR))
    assert popular == [{"item_id": "a", "score": 0.75}, {"item_id": "b", "score": 0.5}]
