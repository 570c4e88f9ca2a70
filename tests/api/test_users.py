"""GET /users/{id} and …/explain/{item_id}: what a user plays, and why."""

from __future__ import annotations

import json

import httpx
import pytest
import redis

from timbral import keys
from tools.example_users import Example


def test_a_history_lists_the_most_played_first_with_names(http: httpx.Client, example: Example) -> None:
    played = example.played_by(5)

    found = http.get("/users/5", params={"limit": 200}).json()

    assert found["user_id"] == "5"
    assert found["model_version"] == example.served.version
    assert found["n_items"] == len(played)
    assert {i["item_id"]: i["plays"] for i in found["history"]} == played
    assert [i["plays"] for i in found["history"]] == sorted(played.values(), reverse=True)
    assert all(i["name"] == example.name(i["item_id"]) for i in found["history"])
    assert len(http.get("/users/5", params={"limit": 3}).json()["history"]) == 3


def test_new_plays_are_shown_beside_the_history(http: httpx.Client, store: redis.Redis) -> None:
    plays = [
        "1-0 [17,1,0]",
        "2-0 [17,1,0]",
        "2-0 [18,5.5,0]",
        '2-1 ["17",1,0]',
        "odd",
        "3-0 [19]",
        "3-0 [19,NaN,0]",
        "3-0 [[],1,0]",
    ]
    store.rpush(keys.plays_user(6), *plays)
    try:
        found = http.get("/users/6").json()
    finally:
        store.delete(keys.plays_user(6))

    assert [(i["item_id"], i["plays"]) for i in found["new_plays"]] == [(18, 5.5), (17, 2.0), ("17", 1.0)]


def test_a_user_with_new_plays_alone_is_known(http: httpx.Client, store: redis.Redis) -> None:
    store.rpush(keys.plays_user("fresh"), "1-0 [17,2.0,0]")
    try:
        found = http.get("/users/fresh").json()
    finally:
        store.delete(keys.plays_user("fresh"))

    assert (found["model_version"], found["n_items"], found["history"]) == (None, 0, [])
    assert found["new_plays"][0]["item_id"] == 17


@pytest.mark.parametrize(
    "path", ["/users/nobody", "/users/999999", "/users/1.0", "/users/nobody/explain/1", "/users/1/explain/zero"]
)
def test_what_the_model_does_not_know_is_not_found(http: httpx.Client, path: str) -> None:
    answer = http.get(path)

    assert answer.status_code == 404
    assert answer.json()["error"] == "NotFound"


def test_an_explanation_names_played_items_that_make_up_the_score(
    http: httpx.Client, store: redis.Redis, example: Example
) -> None:
    best = json.loads(store.get(keys.recommendations_user(11)))[0]

    found = http.get(f"/users/11/explain/{best['item_id']}", params={"limit": 200}).json()

    assert found["name"] == example.name(best["item_id"])
    assert found["score"] == pytest.approx(best["score"], abs=1e-4)
    assert {reason["item_id"] for reason in found["because"]} <= set(example.played_by(11))
    parts = [reason["contribution"] for reason in found["because"]]
    assert parts == sorted(parts, reverse=True)
    assert parts[0] > 0
    assert sum(parts) == pytest.approx(found["score"], rel=0.05)
    assert found["because"][0]["share"] == pytest.approx(parts[0] / found["score"])
