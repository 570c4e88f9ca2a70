"""Item sets over HTTP, and users' lists from them, made at the moment of asking."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import redis

from timbral import keys
from tools.example_users import Example


@pytest.fixture
def even(writer: httpx.Client, example: Example) -> Iterator[httpx.Client]:
    ids = example.served.item_ids
    wanted = [item for item in ids.ids(range(len(ids))) if int(item) % 2 == 0]
    answer = writer.put("/item-sets/even", json={"item_ids": wanted})
    assert (answer.status_code, answer.json()["n_items"]) == (200, len(wanted)), answer.text
    yield writer
    writer.delete("/item-sets/even")


def test_a_list_from_a_set_is_the_best_of_its_items_and_the_cache_stays_as_it_is(
    even: httpx.Client, store: redis.Redis, example: Example
) -> None:
    own = store.get(keys.recommendations_user(7))
    model, ids = example.served.model, example.served.item_ids
    best = ids.ids(model.get_top_recommendations(int(example.served.user_ids.codes([7])[0]), len(ids))[0])

    for query, remainder in (("allow=even", 0), ("exclude=even", 1)):
        found = even.get(f"/users/7/recommendations?{query}&limit=5&names=true").json()

        assert found["source"] == "model"
        assert [item["item_id"] for item in found["items"]] == [item for item in best if item % 2 == remainder][:5]
        assert found["items"][0]["name"] == example.name(found["items"][0]["item_id"])
    assert store.get(keys.recommendations_user(7)) == own
    assert not store.exists(keys.recommendations_filtered(7))


def test_an_unknown_user_gets_popular_items_of_the_set(even: httpx.Client) -> None:
    found = even.get("/users/nobody/recommendations", params={"allow": "even"}).json()

    assert found["source"] == "popular"
    assert len(found["items"]) == 10
    assert {item["item_id"] % 2 for item in found["items"]} == {0}


@pytest.mark.parametrize("query", ["allow=odd", "allow=even&allow=odd", "exclude=odd", "exclude=a:b", "allow="])
def test_a_set_that_is_not_there_or_cannot_be_is_refused(even: httpx.Client, query: str) -> None:
    answer = even.get(f"/users/7/recommendations?{query}")

    assert (answer.status_code, answer.json()["error"]) == (422, "ParameterError")


def test_sets_are_listed_shown_and_deleted(even: httpx.Client, http: httpx.Client) -> None:
    assert "even" in [one["name"] for one in http.get("/item-sets").json()]
    assert len(http.get("/item-sets/even?limit=3").json()["item_ids"]) == 3
    assert http.delete("/item-sets/even").status_code == 401
    assert even.put("/item-sets/even", json={"item_ids": [1.5]}).status_code == 422
    assert even.delete("/item-sets/even").status_code == 204
    for path in ("/item-sets/even", "/item-sets/odd"):
        assert even.get(path).status_code == 404
        assert even.delete(path).status_code == 404
