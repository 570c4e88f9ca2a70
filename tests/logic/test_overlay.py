"""New plays are added once, kept until a model has seen them, and blocks are read with them."""

from __future__ import annotations

import json

import pytest
import redis
from taste import served_model

from timbral import keys
from timbral.logic.overlay import Overlay
from timbral.messages import Play


@pytest.fixture
def overlay(client: redis.Redis) -> Overlay:
    return Overlay(client)


def plays(*entries: tuple[int | str, int | str, float]) -> list[Play]:
    return [Play(user_id=user, item_id=item, plays=count) for user, item, count in entries]


def test_plays_add_up_over_messages_and_count_once_for_each(overlay: Overlay) -> None:
    overlay.add_plays("first", plays((7, 12, 2), (7, 13, 1)))
    overlay.add_plays("first", plays((7, 12, 2), (7, 13, 1)))
    overlay.add_plays("second", plays((7, 12, 0.5)))

    assert overlay.load([7]).plays == {0: {12: 2.5, 13: 1.0}}
    assert overlay.users() == [7]


def test_a_message_with_many_plays_is_added_whole(overlay: Overlay) -> None:
    many = plays(*((user, 1, 1) for user in range(5_000)))

    for _ in range(2):
        overlay.add_plays("task", many)

    loaded = overlay.load(list(range(5_001)))
    assert len(loaded.plays) == 5_000
    assert set(map(json.dumps, loaded.plays.values())) == {'{"1": 1.0}'}


def test_ids_stay_what_they_were(overlay: Overlay) -> None:
    overlay.add_plays("task", plays(("Björk", "naïve/π:x", 1), (-(2**63), 2**63 - 1, 1)))

    loaded = overlay.load(["Björk", -(2**63)])

    assert loaded.plays == {0: {"naïve/π:x": 1.0}, 1: {2**63 - 1: 1.0}}
    assert set(overlay.users()) == {"Björk", -(2**63)}


def test_blocks_of_a_listener_and_of_everybody_are_read(overlay: Overlay, client: redis.Redis) -> None:
    client.sadd(keys.blocks_user(8), keys.encode_id(3), keys.encode_id("3"))
    client.sadd(keys.BLOCKS_ITEMS, keys.encode_id(9))

    for users in ([7, 8], [7, 8, *range(100, 200)]):
        loaded = overlay.load(users)
        assert {place: set(items) for place, items in loaded.blocks.items()} == {1: {3, "3"}}
        assert loaded.blocked_items == [9]
        assert loaded.plays == {}


def test_plays_that_the_model_was_trained_with_go_and_the_others_stay(overlay: Overlay) -> None:
    served = served_model([(1, 10, 5), (1, 11, 5), (2, 10, 1), (2, 12, 1)])
    overlay.add_plays("task", plays((1, 10, 1), (1, 12, 1), (2, 10, 1), (3, 10, 1)))

    assert overlay.drop_seen(served) == 2

    assert overlay.load([1, 2, 3]).plays == {0: {12: 1.0}, 2: {10: 1.0}}
    assert sorted(map(str, overlay.users())) == ["1", "3"]
