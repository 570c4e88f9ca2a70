"""GET /items/{id}/similar, /models and /models/{version}."""

from __future__ import annotations

import httpx
import redis

from timbral import keys
from tools.example_users import Example


def test_similar_items_are_those_of_the_model_with_names(http: httpx.Client, example: Example) -> None:
    codes, scores = example.served.model.similar_items(20, top_k=6)

    found = http.get("/items/21/similar", params={"limit": 6}).json()

    assert (found["item_id"], found["name"]) == (21, example.name(21))
    assert [i["item_id"] for i in found["items"]] == (codes + 1).tolist()
    assert [round(i["score"], 4) for i in found["items"]] == [round(float(s), 4) for s in scores]
    assert found["items"][0]["name"] == example.name(int(codes[0]) + 1)


def test_similar_items_leave_out_what_nobody_must_get(http: httpx.Client, store: redis.Redis) -> None:
    before = [i["item_id"] for i in http.get("/items/21/similar").json()["items"]]
    store.sadd(keys.BLOCKS_ITEMS, keys.encode_id(before[0]))
    try:
        after = [i["item_id"] for i in http.get("/items/21/similar").json()["items"]]
    finally:
        store.delete(keys.BLOCKS_ITEMS)

    assert before[0] not in after
    assert before[1:] == after[: len(before) - 1]


def test_an_unknown_item_is_not_found(http: httpx.Client) -> None:
    assert http.get("/items/nothing/similar").status_code == 404


def test_models_lists_the_live_one_with_its_record(http: httpx.Client, example: Example) -> None:
    version = example.served.version

    found = http.get("/models").json()

    assert found["current"] == version
    assert found["models"] == [example.served.record | {"live": True}]
    assert http.get(f"/models/{version}").json() == found["models"][0]
    assert http.get("/models/20000101T000000-1").status_code == 404


def test_a_damaged_record_is_shown_without_its_fields(http: httpx.Client, store: redis.Redis) -> None:
    store.zadd(keys.MODEL_VERSIONS, {"20200101T000000-0": 0})
    store.set(keys.model_metadata("20200101T000000-0"), "[1, 2")
    try:
        found = http.get("/models").json()["models"]
    finally:
        store.delete(keys.model_metadata("20200101T000000-0"))
        store.zrem(keys.MODEL_VERSIONS, "20200101T000000-0")

    assert found[1] == {"version": "20200101T000000-0", "live": False}
