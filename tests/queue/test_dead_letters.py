from __future__ import annotations

import json
import threading
from typing import Any

import pytest
import redis

from timbral import keys
from timbral.errors import ParameterError
from timbral.queue import dead_letters
from timbral.stack.embedded_server import EmbeddedServer


def message(task_id: str = "t1", priority: int = 0) -> bytes:
    info = {"exchange": "", "routing_key": "celery", "redelivered": True}
    properties = {"delivery_info": info, "delivery_tag": "old", "priority": priority}
    headers = {"task": "train_model", "id": task_id, "redelivered": True}
    return json.dumps({"body": "W10=", "headers": headers, "properties": properties}).encode()


def park(client: redis.Redis, body: bytes | None = None, **changes: Any) -> str:
    given = {
        "kind": "poison",
        "reason": "it kills",
        "queue": "training",
        "task": "train_model",
        "task_id": "t1",
    } | changes
    return dead_letters.park(client, message() if body is None else body, **given)


def test_a_letter_says_what_why_where_from_and_how_often(client: redis.Redis) -> None:
    letter_id = park(client, args='{"dataset": "plays.csv"}', deliveries=3)

    letter = dead_letters.show(client, letter_id)

    assert (letter.letter_id, letter.kind, letter.task, letter.task_id) == ("t1", "poison", "train_model", "t1")
    assert (letter.reason, letter.queue, letter.deliveries) == ("it kills", "training", 3)
    assert letter.args == '{"dataset": "plays.csv"}'
    assert letter.body == message()
    assert letter.can_be_sent


def test_letters_are_listed_the_newest_first(client: redis.Redis) -> None:
    for n in range(5):
        park(client, task_id=f"t{n}")

    assert [letter.task_id for letter in dead_letters.list_letters(client, limit=2)] == ["t4", "t3"]
    assert [letter.task_id for letter in dead_letters.list_letters(client, limit=2, offset=3)] == ["t1", "t0"]
    assert dead_letters.count(client) == 5


def test_the_same_poison_parked_again_is_one_letter(client: redis.Redis) -> None:
    park(client)
    park(client, reason="again")

    assert dead_letters.count(client) == 1
    assert dead_letters.show(client, "t1").reason == "again"


def test_a_letter_sent_again_is_a_new_message_without_a_past(client: redis.Redis) -> None:
    # given
    park(client, message(priority=7))
    client.set(keys.deliveries("t1"), 4)
    client.set("celery-task-meta-t1", '{"status": "FAILURE"}')

    # when
    assert dead_letters.send_again(client, "t1") == "t1"

    # then
    sent = json.loads(client.rpop("training\x06\x166"))
    assert sent["headers"] == {"task": "train_model", "id": "t1"}
    assert sent["properties"]["delivery_tag"] != "old"
    assert "redelivered" not in sent["properties"]["delivery_info"]
    assert not client.exists(keys.deliveries("t1"), "celery-task-meta-t1", keys.dead_letter("t1"), keys.DEAD_LETTERS)


def test_a_letter_is_sent_once_however_many_send_it(redis_server: EmbeddedServer, client: redis.Redis) -> None:
    park(client)
    barrier, outcomes = threading.Barrier(6), []

    def send() -> None:
        with redis_server.client() as own:
            barrier.wait()
            try:
                outcomes.append(dead_letters.send_again(own, "t1"))
            except ParameterError:
                outcomes.append(None)

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(map(str, outcomes)) == ["None"] * 5 + ["t1"]
    assert client.llen("training") == 1


@pytest.mark.parametrize(
    ("kind", "body", "why"),
    [("garbage", b"hello", "not a message"), ("unknown_task", b"x" * (dead_letters.BODY_KEPT_BYTES + 1), "cut")],
)
def test_what_cannot_be_sent_says_why_and_stays(client: redis.Redis, kind: Any, body: bytes, why: str) -> None:
    letter_id = park(client, body, kind=kind)

    with pytest.raises(ParameterError, match=why):
        dead_letters.send_again(client, letter_id)

    assert dead_letters.count(client) == 1
    assert not client.exists("training")


def test_poison_is_kept_whole_and_garbage_is_cut(client: redis.Redis) -> None:
    big = b"x" * 1_000_000

    poison = dead_letters.show(client, park(client, big))
    garbage = dead_letters.show(client, park(client, big, kind="garbage"))

    assert (len(poison.body), poison.length, poison.is_whole) == (1_000_000, 1_000_000, True)
    assert (len(garbage.body), garbage.length, garbage.is_whole) == (dead_letters.BODY_KEPT_BYTES, 1_000_000, False)


def test_a_deleted_letter_is_gone_and_an_unknown_one_is_named(client: redis.Redis) -> None:
    letter_id = park(client, kind="garbage")

    assert dead_letters.delete(client, letter_id)
    assert not dead_letters.delete(client, letter_id)
    assert not client.keys("dead_letters*")
    with pytest.raises(ParameterError, match="No dead letter 'nope'"):
        dead_letters.show(client, "nope")
