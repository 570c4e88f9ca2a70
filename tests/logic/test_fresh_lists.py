"""Fresh lists: at most n of a group, and places for what would not be seen; nothing of it unless asked for."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
import redis
from taste import history, served_model

from timbral import keys
from timbral.logic.batch_recommendation import BatchRecommendation
from timbral.models.search.top_k import TopK
from timbral.versions.fresh_lists import FreshLists
from timbral.versions.served_model import ServedModel

USERS = [1000, 1001, 1002, 1003]


@pytest.fixture(scope="module")
def served() -> ServedModel:
    """80 items of 4 genres; item i is by artist i // 10, so that a genre's 20 items are by two artists."""
    return served_model(history())


@pytest.fixture
def grouped(client: redis.Redis, served: ServedModel) -> redis.Redis:
    items = served.item_ids.ids(range(len(served.item_ids)))
    client.hset(keys.ITEMS_GROUPS, mapping={keys.encode_id(item): f"artist {item // 10}" for item in items})
    return client


def written(client: redis.Redis, name: str) -> list[Any]:
    return [item["item_id"] for item in json.loads(client.get(name) or "[]")]


def lists(client: redis.Redis, served: ServedModel, **options: Any) -> list[list[Any]]:
    BatchRecommendation(client, served, **options).for_users(USERS)
    return [written(client, keys.recommendations_user(user)) for user in USERS]


def test_at_most_n_items_of_an_artist_are_in_a_list_best_first(grouped: redis.Redis, served: ServedModel) -> None:
    plain = lists(grouped, served, top_k=60)

    capped = lists(grouped, served, top_k=6, max_per_group=2)

    for whole, one in zip(plain, capped, strict=True):
        assert len(one) == 6
        assert max(Counter(item // 10 for item in one).values()) <= 2
        counted: Counter[int] = Counter()
        expected = []
        for item in whole:
            counted[item // 10] += 1
            expected += [item] if counted[item // 10] <= 2 else []
        assert one == expected[:6], "the best that the rule leaves, however far down they are"
    assert lists(grouped, served, top_k=6) == [one[:6] for one in plain], "off by default"


def test_an_item_without_a_group_is_alone_in_its_own(client: redis.Redis, served: ServedModel) -> None:
    assert lists(client, served, top_k=8, max_per_group=1) == lists(client, served, top_k=8)


def test_the_popular_list_has_no_more_of_an_artist_either(grouped: redis.Redis, served: ServedModel) -> None:
    BatchRecommendation(grouped, served, top_k=7, max_per_group=1).write_popular()

    popular = written(grouped, keys.RECOMMENDATIONS_POPULAR)
    assert len(popular) == 7
    assert len({item // 10 for item in popular}) == 7


def test_exploration_gives_the_last_places_to_items_from_further_down(client: redis.Redis, served: ServedModel) -> None:
    plain = lists(client, served, top_k=50)

    explored = lists(client, served, top_k=10, exploration_share=0.3)

    for whole, one in zip(plain, explored, strict=True):
        assert one[:7] == whole[:7]
        assert len(set(one)) == 10
        assert set(one[7:]) <= set(whole[7:])
    assert any(one[7:] != whole[7:10] for whole, one in zip(plain, explored, strict=True))
    assert lists(client, served, top_k=10, exploration_share=0.3) == explored, "the same when it is written again"


def test_both_rules_hold_at_once_and_a_short_catalogue_makes_short_lists(
    grouped: redis.Redis, served: ServedModel
) -> None:
    for one in lists(grouped, served, top_k=40, max_per_group=1, exploration_share=0.5):
        assert len(one) == len({item // 10 for item in one}) == 8


def test_an_empty_list_among_others_stays_empty() -> None:
    found = TopK(np.array([0, 2, 2, 4]), np.array([0, 1, 2, 3], np.int32), np.array([4, 3, 2, 1], np.float32))

    made = FreshLists(max_per_group=1).lists(lambda _: found, 2, 4, ["a", "b", "c"], lambda items: items // 2)

    assert made.indptr.tolist() == [0, 1, 1, 2]
    assert made.item_indices.tolist() == [0, 2]
