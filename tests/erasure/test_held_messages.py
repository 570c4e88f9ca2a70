"""Messages and records that name a user, in every place where they lie."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from celery import Celery
from erasure.conftest import mentions

import producers
from timbral import keys
from timbral.erasure.stored_data import StoredData
from timbral.queue import dead_letters, layout
from timbral.stack.embedded_server import EmbeddedServer
from timbral.versions.model_store import ModelStore

USER = "mara.lind@example.org"


@pytest.fixture
def stored(connected: EmbeddedServer, client: redis.Redis, tmp_path: Any) -> StoredData:
    return StoredData(client, client, ModelStore(client, tmp_path / "models"), "the-erasure")


def waiting(client: redis.Redis, queue: str) -> list[dict[str, Any]]:
    import base64

    return [json.loads(base64.b64decode(json.loads(raw)["body"]))[1] for raw in client.lrange(queue, 0, -1)]


def test_waiting_messages_keep_everybody_elses_part_and_their_place(
    stored: StoredData, client: redis.Redis, tmp_path: Any
) -> None:
    producers.enqueue_compute_recommendations(user_ids=["first"])
    producers.enqueue_refresh_embeddings(
        plays=[{"user_id": USER, "item_id": 1}, {"user_id": "other", "item_id": 2, "plays": 3}]
    )
    producers.enqueue_compute_recommendations(user_ids=[USER, "other"])
    producers.enqueue_train_model("plays.csv")
    raw = client.lindex(layout.queue_key("celery"), 0)
    client.hset(layout.UNACKED, "tag", json.dumps([json.loads(raw), "celery", "celery"]))
    digest = next(iter(stored.forgotten.add([USER]).values()))

    stored.forget_in_redis([USER])

    assert mentions(client, tmp_path, USER) == []
    newest, plays, oldest = waiting(client, "celery")
    assert newest == {"user_ids": [f"forgotten:{digest}", "other"]}
    assert [play["user_id"] for play in plays["plays"]] == ["other"]
    assert oldest == {"user_ids": ["first"]}
    assert stored.receipt.read()["messages"] == 3
    assert stored.receipt.read()["records"] == 2
    for name in (keys.SUBMITTED, layout.UNACKED):
        assert client.hlen(name) > 0


def test_dead_letters_are_redacted_and_what_nobody_can_take_apart_is_deleted(
    stored: StoredData, client: redis.Redis, tmp_path: Any
) -> None:
    with Celery(broker=f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}/0") as app:
        app.send_task("compute_recommendations", kwargs={"user_ids": [USER]}, task_id="poison")
    body = client.rpop("celery")
    options: dict[str, Any] = {"queue": "celery", "reason": f"it was {USER}", "args": json.dumps({"user_ids": [USER]})}
    dead_letters.park(client, body, kind="poison", task="compute_recommendations", task_id="poison", **options)
    dead_letters.park(client, f"hello {USER}!".encode(), kind="garbage", reason="no message", queue="celery")
    dead_letters.park(client, b"hello \xff nobody", kind="garbage", reason="no message", queue="celery")

    stored.forget_in_redis([USER])

    assert mentions(client, tmp_path, USER) == []
    assert {letter.kind for letter in dead_letters.list_letters(client)} == {"poison", "garbage"}
    assert dead_letters.count(client) == 2
    assert dead_letters.send_again(client, "poison") == "poison"
    (sent,) = waiting(client, "celery")
    assert sent["user_ids"][0].startswith("forgotten:")


def test_results_of_failure_and_jobs_name_nobody_and_the_erasures_own_message_stays(
    stored: StoredData, client: redis.Redis, tmp_path: Any
) -> None:
    failure = {"status": "FAILURE", "result": {"exc_type": "E", "exc_message": [f"no {USER}"]}, "traceback": USER}
    client.set(layout.result_key("a"), json.dumps(failure), ex=500)
    client.hset(keys.job("b"), mapping={"kwargs": json.dumps({"user_ids": [USER]}), "users:3": json.dumps(["o", USER])})
    client.hset(keys.once("c"), mapping={"state": "running", "arguments": json.dumps({"user_ids": [USER]})})
    own = json.dumps({"task": "forget_users", "kwargs": {"user_ids": [USER]}, "at": 1.0})
    client.hset(keys.SUBMITTED, "the-erasure", own)

    stored.forget_in_redis([USER])

    assert mentions(client, tmp_path, USER) == [keys.SUBMITTED]
    assert client.hget(keys.SUBMITTED, "the-erasure") == own.encode()
    assert 0 < client.ttl(layout.result_key("a")) <= 500
    assert len(json.loads(client.hget(keys.job("b"), "users:3"))) == 2


def test_plays_recorded_before_and_after_are_gone_from_redis_but_for_the_stream(
    stored: StoredData, client: redis.Redis
) -> None:
    producers.record_plays([{"user_id": USER, "item_id": 1, "event_id": f"{USER}-1"}])
    stored.forget_in_redis([USER])

    assert producers.record_plays([{"user_id": USER, "item_id": 2}, {"user_id": "other", "item_id": 2}]) == 1

    assert client.exists(keys.plays_user(USER)) == 0
    assert client.smembers(keys.PLAYS_USERS) == {b'"other"'}
    assert client.zrange(keys.PLAYS_REFRESH, 0, -1) == [b'"other"']
    assert [len(json.loads(fields[b"plays"])) for _, fields in client.xrange(keys.PLAYS_STREAM)] == [1, 1]


def test_1_and_its_text_are_one_person(stored: StoredData, client: redis.Redis) -> None:
    stored.forget_in_redis(["7"])

    assert stored.forgotten.among([7, "7", 77, "07"]) == {7, "7"}
    assert producers.block_items(7, [1]) == 0
    assert client.exists(keys.blocks_user(7)) == 0
    assert producers.block_items(77, [1]) == 1
