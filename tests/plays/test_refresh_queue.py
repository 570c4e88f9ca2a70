"""The users who wait for a refresh: taken once a model is live, and left waiting where a claim cannot be begun."""

from __future__ import annotations

import pytest
import redis

from timbral import keys
from timbral.plays.refresh_queue import RefreshQueue


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


def test_a_claim_that_is_let_go_has_cost_its_users_no_attempt(client: redis.Redis, queue: RefreshQueue) -> None:
    client.set(keys.MODEL_CURRENT, "20260101T000000-1")

    for _ in range(6):  # more often than a lost refresh is tried again
        claim = queue.claim(arrived=True)
        assert claim is not None
        assert sorted(claim.user_ids) == [7, 8]
        queue.let_go(claim)

    assert not client.exists(keys.PLAYS_REFRESHING)
    assert not client.exists(keys.PLAYS_REFRESH_ATTEMPTS)
