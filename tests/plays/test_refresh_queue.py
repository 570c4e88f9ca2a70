"""The users who wait for a refresh: taken once a model is live, and left waiting where a claim cannot be begun."""

from __future__ import annotations

import pytest
import redis

from timbral import keys
from timbral.logic.overlay import Overlay
from timbral.messages import Play
from timbral.plays.refresh_queue import RefreshQueue
from timbral.queue.begun import Begun


@pytest.fixture
def queue(client: redis.Redis) -> RefreshQueue:
    client.zadd(keys.PLAYS_REFRESH, {"7": 1.0, "8": 2.0})
    return RefreshQueue(client)


def test_nobody_is_taken_before_a_model_is_live(client: redis.Redis, queue: RefreshQueue) -> None:
    client.set(keys.PLAYS_REFRESH_SENT, 1)

    assert queue.claim(arrived=True) is None

    assert queue.waiting() == 2
    assert client.exists(keys.PLAYS_REFRESH_SENT)  # as if the message had not come


def test_a_claim_tells_what_is_live_in_the_same_step(client: redis.Redis, queue: RefreshQueue) -> None:
    client.set(keys.MODEL_CURRENT, "20260101T000000-1")
    client.hset(keys.MODEL_REVISIONS, "20260101T000000-1", "3")

    claim = queue.claim(arrived=True)

    assert claim is not None
    assert (claim.live, claim.revisions) == ("20260101T000000-1", {"20260101T000000-1": "3"})
    assert claim.user_ids == [7, 8]
    assert queue.finish(claim) == 0
    assert queue.waiting() == 0


def test_a_claim_tells_what_the_lists_of_its_users_are_made_from_as_whoever_asks_for_it_is_told(
    client: redis.Redis,
) -> None:
    client.set(keys.MODEL_CURRENT, "20260101T000000-1")
    users = [7, "7", "Ænima\n", 'a "b"', 8]
    overlay = Overlay(client)
    plays = [Play(user_id=user, item_id=n) for n, user in enumerate(users[:4])]
    overlay.add_plays("task", plays, refresh=True)
    client.zadd(keys.PLAYS_REFRESH, {"8": 9e15})
    client.sadd(keys.BLOCKS_ITEMS, "3", '"x"')
    client.sadd(keys.blocks_user("Ænima\n"), "4")
    client.hset(keys.PLAYS_LISTED, keys.recommendations_user(7), "5-0")
    client.set(keys.FORGOTTEN_SALT, "salt")

    claim = RefreshQueue(client).claim(arrived=True)

    assert claim is not None
    assert claim.replies is not None
    assert sorted(map(str, claim.user_ids)) == sorted(map(str, users))
    asked, told = overlay.load(claim.user_ids), Overlay(client, claim.replies).load(claim.user_ids)
    assert {**vars(told), "blocked_items": set(told.blocked_items)} == {
        **vars(asked),
        "blocked_items": set(asked.blocked_items),
    }
    assert len(told.plays) == 4
    assert told.salt == "salt"


def test_what_was_told_is_taken_once_and_for_the_same_users_alone(client: redis.Redis) -> None:
    client.set(keys.MODEL_CURRENT, "20260101T000000-1")
    Overlay(client).add_plays("one", [Play(user_id=7, item_id=1)], refresh=True)
    claim = RefreshQueue(client).claim(arrived=True)
    assert claim is not None
    Overlay(client).add_plays("two", [Play(user_id=8, item_id=2)])

    overlay = Overlay(client, claim.replies)

    assert overlay.load([8]).plays == {0: {2: 1.0}}
    assert overlay.load([7]).plays == {0: {1: 1.0}}


def test_a_claim_that_is_let_go_has_cost_its_users_no_attempt(client: redis.Redis, queue: RefreshQueue) -> None:
    client.set(keys.MODEL_CURRENT, "20260101T000000-1")

    for _ in range(6):  # more often than a lost refresh is tried again
        claim = queue.claim(arrived=True)
        assert claim is not None
        assert sorted(claim.user_ids) == [7, 8]
        queue.let_go(claim)

    assert not client.exists(keys.PLAYS_REFRESHING)
    assert not client.exists(keys.PLAYS_REFRESH_ATTEMPTS)


def test_users_wait_again_where_another_version_went_live_meanwhile(client: redis.Redis, queue: RefreshQueue) -> None:
    # given: two workers of which one stands still, with a model that is replaced
    client.set(keys.MODEL_CURRENT, "20260101T000000-1")
    claim = queue.claim(arrived=True)
    assert claim is not None
    client.set(keys.MODEL_CURRENT, "20260101T000000-2")

    # when, then
    assert queue.finish(claim) == 2
    again = queue.claim(arrived=False)
    assert again is not None
    assert (again.live, sorted(again.user_ids)) == ("20260101T000000-2", [7, 8])
    assert queue.finish(again) == 0


def test_a_claim_that_begins_a_delivery_notes_it_in_the_same_step(client: redis.Redis, queue: RefreshQueue) -> None:
    begun = Begun(keys.deliveries("task"), "tag", 100)

    assert queue.claim(arrived=True, begun=begun) is None  # no model is live
    client.set(keys.MODEL_CURRENT, "20260101T000000-1")
    queue.claim(arrived=True, begun=begun)
    queue.claim(arrived=False)

    assert client.smembers(keys.deliveries("task")) == {b"tag"}  # one delivery begins once
    assert 0 < client.ttl(keys.deliveries("task")) <= 100
