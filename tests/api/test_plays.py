"""POST /plays: recorded when the answer comes, once, and refused where a play is wrong."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import redis

from timbral import keys

PLAY = {"user_id": "ü", "item_id": 7, "plays": 2.5, "at": "2026-03-01T20:15:00+01:00", "event_id": "e1"}


@pytest.fixture(autouse=True)
def _no_plays_before_or_after(store: redis.Redis) -> Any:
    yield
    left = store.keys("plays:*")
    if left:
        store.delete(*left)


def test_a_play_is_in_the_stream_and_pending_and_its_refresh_is_sent(writer: httpx.Client, store: redis.Redis) -> None:
    answer = writer.post("/plays", json={"plays": [PLAY, {"user_id": 3, "item_id": "x"}]})

    assert (answer.status_code, answer.json()) == (200, {"recorded": 2, "duplicates": 0})
    ((entry, fields),) = store.xrange(keys.PLAYS_STREAM)
    first, second = json.loads(fields[b"plays"])
    assert first == ["ü", 7, 2.5, 1772392500_000_000]
    assert second[:3] == [3, "x", 1.0]
    assert store.lrange(keys.plays_user("ü"), 0, -1) == [entry + b" [7,2.5,1772392500000000]"]
    assert {keys.decode_id(member) for member, _ in store.zrange(keys.PLAYS_REFRESH, 0, -1, withscores=True)} == {
        "ü",
        3,
    }
    assert any(b'"refresh_played"' in message for message in store.lrange("celery", 0, -1))


def test_an_event_that_was_recorded_before_counts_once(writer: httpx.Client, store: redis.Redis) -> None:
    answers = [writer.post("/plays", json={"plays": [PLAY]}).json() for _ in range(2)]

    assert answers == [{"recorded": 1, "duplicates": 0}, {"recorded": 0, "duplicates": 1}]
    assert store.llen(keys.plays_user("ü")) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "plays"),
        ({"plays": []}, "plays"),
        ({"plays": [PLAY, {"user_id": 1}]}, "plays.1.item_id"),
        ({"plays": [PLAY | {"plays": 0}]}, "plays.0.plays"),
        ({"plays": [PLAY | {"at": 1772392500}]}, "plays.0.at"),
        ({"plays": [PLAY | {"at": "2026-03-01"}]}, "plays.0.at"),
        ({"plays": [PLAY | {"colour": "red"}]}, "plays.0.colour"),
    ],
)
def test_a_wrong_play_is_named_and_none_is_recorded(
    writer: httpx.Client, store: redis.Redis, body: dict[str, Any], field: str
) -> None:
    answer = writer.post("/plays", json=body)

    assert answer.status_code == 422
    assert field in {problem["field"] for problem in answer.json()["problems"]}
    assert not store.exists(keys.PLAYS_STREAM)
