"""New plays are added once, kept until a model has seen them, and blocks are read with them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

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


def test_blocks_of_a_user_and_of_everybody_are_read(overlay: Overlay, client: redis.Redis) -> None:
    client.sadd(keys.blocks_user(8), keys.encode_id(3), keys.encode_id("3"))
    client.sadd(keys.BLOCKS_ITEMS, keys.encode_id(9))

    for users in ([7, 8], [7, 8, *range(100, 200)]):
        loaded = overlay.load(users)
        assert {place: set(items) for place, items in loaded.blocks.items()} == {1: {3, "3"}}
        assert loaded.blocked_items == [9]
        assert loaded.plays == {}


def test_plays_up_to_the_watermark_go_and_later_ones_stay(overlay: Overlay, client: redis.Redis) -> None:
    overlay.add_plays("first", plays((1, 10, 1), (2, 10, 1)))
    watermark = client.xrevrange(keys.PLAYS_STREAM, count=1)[0][0].decode()
    overlay.add_plays("second", plays((1, 10, 3), (3, 10, 1)))

    assert overlay.drop_trained(watermark) == 2
    assert overlay.drop_trained(watermark) == 0

    assert overlay.load([1, 2, 3]).plays == {0: {10: 3.0}, 2: {10: 1.0}}
    assert set(overlay.users()) == {1, 3}


def test_what_a_model_was_trained_on_does_not_count_twice_while_it_is_still_pending(
    overlay: Overlay, client: redis.Redis
) -> None:
    overlay.add_plays("first", plays((1, 10, 1), (2, 10, 1)))
    watermark = client.xrevrange(keys.PLAYS_STREAM, count=1)[0][0].decode()
    overlay.add_plays("second", plays((1, 11, 3)))
    served = served_model([(1, 10, 5), (2, 12, 1)])
    served.record["history"] = {"watermark": watermark}

    assert overlay.load([1, 2], served).plays == {0: {11: 3.0}}


def test_an_old_play_counts_less_where_the_training_says_so(overlay: Overlay) -> None:
    newest = datetime(2026, 1, 1, tzinfo=UTC)
    listed = [(10, newest - timedelta(days=30)), (11, newest), (12, newest + timedelta(days=90))]
    overlay.add_plays("task", [Play(user_id=1, item_id=item, plays=4, at=at) for item, at in listed])
    served = served_model([(1, 10, 5), (2, 12, 1)])
    served.record["history"] = {"half_life_days": 15, "newest_us": round(newest.timestamp() * 1e6)}

    assert overlay.load([1], served).plays == {0: {10: 1.0, 11: 4.0, 12: 4.0}}


def test_plays_that_no_list_knows_of_are_told_apart(overlay: Overlay, client: redis.Redis) -> None:
    overlay.add_plays("first", plays((1, 10, 1)))
    overlay.settle([1], [overlay.load([1]).newest[0]], 0)
    overlay.add_plays("second", plays((1, 10, 1), (1, 11, 1)))

    assert overlay.load([1]).unlisted == {0: [10, 11]}
