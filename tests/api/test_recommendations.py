"""GET /users/{id}/recommendations: the cache, popular items, blocks, ids, and what is in Redis but is no list."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import redis

from timbral import keys
from tools.example_users import Example


def _get(http: httpx.Client, user_id: str, **query: Any) -> dict[str, Any]:
    answer = http.get(f"/users/{quote(user_id, safe='')}/recommendations", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


def test_a_user_gets_the_list_that_the_fleet_wrote(http: httpx.Client, store: redis.Redis) -> None:
    written = json.loads(store.get(keys.recommendations_user(7)))

    assert _get(http, "7") == {"user_id": "7", "source": "cache", "items": written}
    assert len(written) == 10


def test_an_unknown_user_gets_popular_items_and_is_told_so(http: httpx.Client, store: redis.Redis) -> None:
    popular = json.loads(store.get(keys.RECOMMENDATIONS_POPULAR))

    assert _get(http, "nobody") == {"user_id": "nobody", "source": "popular", "items": popular}


def test_without_any_list_there_are_no_items_and_no_error(http: httpx.Client, store: redis.Redis) -> None:
    held = store.getdel(keys.RECOMMENDATIONS_POPULAR)
    try:
        assert _get(http, "nobody") == {"user_id": "nobody", "source": "none", "items": []}
    finally:
        store.set(keys.RECOMMENDATIONS_POPULAR, held)


def test_a_known_user_without_a_list_gets_popular_items_that_they_have_not_played(
    http: httpx.Client, store: redis.Redis, example: Example
) -> None:
    popular = [item["item_id"] for item in json.loads(store.get(keys.RECOMMENDATIONS_POPULAR))]
    user_id = next(u for u in range(1, 400) if popular[0] in example.played_by(u))
    held = store.getdel(keys.recommendations_user(user_id))
    store.rpush(keys.plays_user(user_id), f"1-0 [{keys.encode_id(popular[-1])},1.0,0]")
    try:
        found = _get(http, str(user_id))
    finally:
        store.set(keys.recommendations_user(user_id), held)
        store.delete(keys.plays_user(user_id))

    played = example.played_by(user_id)
    assert found["source"] == "popular"
    assert [i["item_id"] for i in found["items"]] == [i for i in popular[:-1] if i not in played]


@pytest.mark.parametrize("key", [keys.BLOCKS_ITEMS, keys.blocks_user("8")])
def test_a_blocked_item_is_left_out_from_the_next_request_on(http: httpx.Client, store: redis.Redis, key: str) -> None:
    before = _get(http, "8")["items"]
    store.sadd(key, keys.encode_id(before[3]["item_id"]), keys.encode_id(str(before[0]["item_id"])))
    try:
        found = _get(http, "8")
        popular = [item["item_id"] for item in _get(http, "nobody")["items"]]
    finally:
        store.delete(key)

    assert found == {"user_id": "8", "source": "cache", "items": before[:3] + before[4:]}
    assert key != keys.BLOCKS_ITEMS or before[3]["item_id"] not in popular


def test_limit_cuts_and_names_adds_names(http: httpx.Client, example: Example) -> None:
    whole = _get(http, "9")["items"]

    assert _get(http, "9", limit=4)["items"] == whole[:4]
    named = _get(http, "9", limit=2, names="true")["items"]
    assert [i["name"] for i in named] == [example.name(i["item_id"]) for i in whole[:2]]


@pytest.mark.parametrize(
    "user_id", ["spotify:user:1", "a/b", "a%2Fb", "100%", "ünïcode 🎧", "x?y#z", "../7", " ", "%25"]
)
def test_any_text_can_be_an_id(http: httpx.Client, store: redis.Redis, user_id: str) -> None:
    items = [{"item_id": f"item of {user_id}", "score": 0.5}]
    store.set(keys.recommendations_user(user_id), json.dumps(items))
    try:
        assert _get(http, user_id) == {"user_id": user_id, "source": "cache", "items": items}
        assert _get(http, user_id, limit=1) == {"user_id": user_id, "source": "cache", "items": items}
    finally:
        store.delete(keys.recommendations_user(user_id))


@pytest.mark.parametrize(
    "value",
    [
        b"\x80\x04K*.",
        b"not json",
        b'{"item_id": 1}',
        b"[1, 2]",
        b'[{"score": 1}]',
        b'[{"item_id": 1.5}]',
        b'[{"item_id": 36893488147419103232}]',
        b'[{"item_id": 1, "score": NaN}]',
        b'[{"item_id": 1, "score": 1e999}]',
        b'[{"item_id": 1, "score": "high"}]',
        b'[],"injected":[]',
        b"[" * 10_000,
        b"",
    ],
)
def test_a_value_that_is_no_list_is_not_handed_on(http: httpx.Client, store: redis.Redis, value: bytes) -> None:
    store.set(keys.recommendations_user("odd"), value)
    try:
        assert _get(http, "odd")["source"] == "popular"
    finally:
        store.delete(keys.recommendations_user("odd"))


def test_an_empty_list_is_a_list(http: httpx.Client, store: redis.Redis) -> None:
    store.set(keys.recommendations_user("full"), "[]")
    try:
        assert _get(http, "full") == {"user_id": "full", "source": "cache", "items": []}
    finally:
        store.delete(keys.recommendations_user("full"))


def test_the_fast_lane_and_the_route_answer_the_same(http: httpx.Client) -> None:
    for user_id in ("1", "2", "3", "nobody"):
        assert _get(http, user_id) == _get(http, user_id, names="false")


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "names=perhaps", "limit=1&limit=2"])
def test_a_bad_query_is_refused_naming_the_field(http: httpx.Client, query: str) -> None:
    answer = http.get(f"/users/1/recommendations?{query}")

    assert answer.status_code == 422
    assert answer.json()["problems"][0]["field"] == query.partition("=")[0]


def test_an_id_has_512_characters_at_most(http: httpx.Client) -> None:
    assert http.get(f"/users/{'x' * 512}/recommendations").status_code == 200
    assert http.get(f"/users/{'x' * 513}/recommendations").status_code == 422


def test_many_requests_at_once_each_get_their_own_list(http: httpx.Client, store: redis.Redis) -> None:
    wanted = [1 + n % 400 for n in range(1200)]
    lists = {u: json.loads(store.get(keys.recommendations_user(u))) for u in range(1, 401)}

    with ThreadPoolExecutor(24) as threads:
        found = list(threads.map(lambda u: _get(http, str(u)), wanted))

    assert [f["items"] for f in found] == [lists[u] for u in wanted]
