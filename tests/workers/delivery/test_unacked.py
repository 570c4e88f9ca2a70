from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import redis

from timbral import keys
from timbral.queue import layout
from timbral.stack.embedded_server import EmbeddedServer
from workers.delivery import sent_ahead
from workers.delivery.unacked import DELIVERIES_TTL_S, Unacked

ALWAYS = {"gap_s": 1e9, "grace_s": 0.0}
"""For ``lapsed``: somebody has always been looking."""


@pytest.fixture
def unacked(client: redis.Redis) -> Unacked:
    return Unacked(client, "unacked_index", "unacked")


def begin(unacked: Unacked, tag: str, task_id: str = "task") -> None:
    unacked.begin(tag, task_id)
    sent_ahead.read_replies()


def age(client: redis.Redis, tag: str, seconds: float) -> None:
    client.zincrby("unacked_index", -seconds, tag)


def test_each_beginning_of_a_task_is_counted_and_the_count_goes_with_the_message(
    unacked: Unacked, client: redis.Redis
) -> None:
    for n in range(3):
        assert unacked.take(f"tag{n}", "content", "task")[:2] == (n, "same"), (
            "what was received, and not begun, counts for nothing"
        )
        assert unacked.take(f"tag{n}", "content", "task")[:2] == (n, "same")
        for _ in range(2):
            begin(unacked, f"tag{n}")
        assert client.scard(keys.deliveries("task")) == n + 1, "one delivery begins once"
    assert 0 < client.ttl(keys.deliveries("task")) <= DELIVERIES_TTL_S
    assert unacked.take("tag9", "content", None)[:2] == (0, "same")

    unacked.settle("tag2", "task")

    assert not client.exists(keys.deliveries("task"))
    assert unacked.content("tag2") is None
    assert client.zscore("unacked_index", "tag2") is None
    assert unacked.content("tag0") == b"content"


def test_what_is_renewed_does_not_lapse_and_what_is_not_does(unacked: Unacked, client: redis.Redis) -> None:
    for tag in ("held", "left"):
        unacked.take(tag, "content", None)
        age(client, tag, 100)

    assert unacked.renew(["held", "never taken"]) == 1
    assert unacked.lapsed(10, **ALWAYS) == ["left"]
    assert not client.zscore("unacked_index", "never taken"), "renewing brings nothing back"
    assert unacked.renew([]) == 0


def test_after_a_time_when_nobody_looked_nothing_lapses_until_the_living_could_renew(
    unacked: Unacked, client: redis.Redis, wait_until: Any
) -> None:
    # given: something that lapsed, and a last look a while ago: Redis was away
    unacked.take("tag", "content", None)
    age(client, "tag", 100)
    unacked.lapsed(10, **ALWAYS)
    client.hset(keys.UNACKED_LOOKS, "last", time.time() - 60)

    # then
    looked_at = time.monotonic()
    assert unacked.lapsed(10, gap_s=2, grace_s=0.5) == []
    wait_until(lambda: unacked.lapsed(10, gap_s=2, grace_s=0.5) == ["tag"], 10, "the end of the grace")
    assert time.monotonic() - looked_at >= 0.5


def test_a_message_is_put_back_by_one_of_many_who_try(
    redis_server: EmbeddedServer, unacked: Unacked, client: redis.Redis
) -> None:
    unacked.take("tag", "content", "task")
    begin(unacked, "tag")
    age(client, "tag", 100)
    barrier, won = threading.Barrier(8), []

    def put_back() -> None:
        with redis_server.client() as own:
            other = Unacked(own, "unacked_index", "unacked")
            barrier.wait()
            won.append(other.put_back("tag", "payload", "celery", at_head=True, lapsed_for_s=10))

    threads = [threading.Thread(target=put_back) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(won) == [False] * 7 + [True]
    assert client.lrange("celery", 0, -1) == [b"payload"]
    assert client.smembers(keys.deliveries("task")) == {b"tag"}, "it lapsed: that counts"


def test_a_message_that_was_renewed_meanwhile_is_not_put_back(unacked: Unacked, client: redis.Redis) -> None:
    unacked.take("tag", "content", "task")
    age(client, "tag", 100)
    assert unacked.lapsed(10, **ALWAYS) == ["tag"]
    unacked.renew(["tag"])

    assert not unacked.put_back("tag", "payload", "celery", at_head=True, lapsed_for_s=10)
    assert not unacked.drop("tag", lapsed_for_s=10)
    assert not client.exists("celery")
    assert unacked.content("tag") == b"content"


def test_a_hand_over_is_not_counted_and_goes_to_the_end_that_is_asked_for(
    unacked: Unacked, client: redis.Redis
) -> None:
    client.lpush("celery", "waiting")
    unacked.take("first", "content", "a")
    unacked.take("again", "content", "b")
    unacked.take("again2", "content", "b")
    for tag, task_id in (("first", "a"), ("again", "b"), ("again2", "b")):
        begin(unacked, tag, task_id)

    assert unacked.put_back("first", "next", "celery", at_head=True, uncount="a")
    assert unacked.put_back("again2", "last", "celery", at_head=False, uncount="b")

    assert not client.exists(keys.deliveries("a"))
    assert client.smembers(keys.deliveries("b")) == {b"again"}
    assert [client.rpop("celery") for _ in range(3)] == [b"next", b"waiting", b"last"]


def test_an_index_without_content_is_dropped(unacked: Unacked, client: redis.Redis) -> None:
    client.zadd("unacked_index", {"nothing": 1})

    assert not unacked.put_back("nothing", "payload", "celery", at_head=True)

    assert client.zcard("unacked_index") == 0
    assert not client.exists("celery")


def test_of_two_messages_of_one_id_only_the_first_gets_it_whoever_asks_last(unacked: Unacked) -> None:
    unacked.take("a", "content", "task", "work a")
    unacked.put_back("a", "{}", "queue", at_head=True)  # to another queue, say
    taken = unacked.take("b", "content", "task", "work b")
    assert taken.work == "used", "nobody holds the other message now"
    assert unacked.take("a", "content", "task", "work a", True).work == "same"

    assert not unacked.claim("b", "task", "work b", taken.state), "the other one is being done by now"

    assert unacked.take("b", "content", "task", "work b", True).work == "busy"
    unacked.settle("a", "task")
    taken = unacked.take("b", "content", "task", "work b", True)
    assert taken.work == "used"
    assert unacked.claim("b", "task", "work b", taken.state)


def test_of_two_new_messages_only_one_gets_an_id_used_before_there_were_records(
    unacked: Unacked, client: redis.Redis
) -> None:
    client.set(layout.result_key("task"), "old")
    first, second = (unacked.take(tag, "content", "task", f"work {tag}") for tag in ("a", "b"))
    assert (first.work, second.work) == ("used", "used")

    assert unacked.claim("a", "task", "work a", first.state)
    assert not unacked.claim("b", "task", "work b", second.state)


def test_what_was_done_under_an_id_is_forgotten_even_where_the_worker_that_was_to_do_it_is_lost(
    unacked: Unacked,
) -> None:
    unacked.take("a", "content", "task", "work a")
    unacked.settle("a", "task")
    taken = unacked.take("b", "content", "task", "work b")
    assert unacked.claim("b", "task", "work b", taken.state)

    taken = unacked.take("b", "content", "task", "work b", True)

    assert taken.work == "used", "no worker said that the old work is forgotten"
    assert unacked.claim("b", "task", "work b", taken.state)
    unacked.forgotten("task")
    assert unacked.take("b", "content", "task", "work b", True).work == "same"
