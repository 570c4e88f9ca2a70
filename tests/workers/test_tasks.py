"""The three tasks through a real worker process: what they write, and what they answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from fleet_fixtures import Watch

from timbral.plays.pending import PendingPlays
from timbral.utils import plain_pickle

pytestmark = pytest.mark.integration


def recommended(cache: redis.Redis, user_id: object) -> list[Any]:
    return [entry["item_id"] for entry in json.loads(cache.get(f"recommendations:user:{user_id}") or "null")]


def test_a_training_answers_with_its_version_metrics_and_baseline_and_goes_live(bench: Any, cache: redis.Redis) -> None:
    answer = bench.call("train_model", dataset="plays.csv", random_state=7, promote="always")

    assert answer["promoted"] is True
    assert cache.get("model:current").decode() == answer["model_version"]
    assert (answer["n_users"], answer["n_items"], answer["n_interactions"]) == (120, 80, 1200)
    assert answer["metrics"]["recall@20"] > 2 * answer["baseline"]["recall@20"]
    assert {"read", "evaluate", "fit", "write"} <= set(answer["durations_s"])
    assert (bench.fleet.model_dir / f"{answer['model_version']}.safetensors").is_file()


def test_everybody_is_done_in_chunks_and_the_answer_counts_them(
    bench: Any, cache: redis.Redis, wait_until: Any
) -> None:
    with Watch(bench.fleet.server) as watch:
        answer = bench.call("compute_recommendations", top_k=5)
        wait_until(lambda: watch.executions_by_name()["compute_chunk"] >= 12, 5, "the events")
        chunks = watch.executions_by_name()["compute_chunk"]

    assert (answer["users_done"], answer["users_unknown"]) == (120, 0)
    assert len(cache.keys("recommendations:user:*")) == 120
    assert chunks == 12
    for user in (1000, 1001, 1002, 1003):
        assert {item // 100 for item in recommended(cache, user)} == {user % 4}
    assert 0 < cache.ttl("recommendations:user:1000") <= 21_600
    assert len(json.loads(cache.get("recommendations:popular"))) == 5
    wait_until(lambda: cache.zcard("jobs:open") == 0, 5, "the end of the job")


def test_lists_of_everybody_and_of_some_have_no_more_of_an_artist_than_was_asked_for(
    bench: Any, cache: redis.Redis
) -> None:
    items = [100 * genre + item for genre in range(4) for item in range(20)]
    cache.hset("items:groups", mapping={str(item): f"artist {item // 5}" for item in items})
    asked = {"top_k": 4, "max_per_group": 1, "exploration_share": 0.25}
    try:
        bench.call("compute_recommendations", **asked)
        everybody = [recommended(cache, user) for user in range(1000, 1120)]
        bench.call("compute_recommendations", user_ids=[1000, 1001], **asked)
    finally:
        cache.delete("items:groups")

    assert all(len(one) == len({item // 5 for item in one}) == 4 for one in everybody)
    assert [recommended(cache, user) for user in (1000, 1001)] == everybody[:2]
    popular = [entry["item_id"] for entry in json.loads(cache.get("recommendations:popular"))]
    assert len({item // 5 for item in popular}) == len(popular) == 4


def test_named_users_are_done_in_place_and_strangers_are_counted(bench: Any, cache: redis.Redis) -> None:

    answer = bench.call("compute_recommendations", user_ids=[1000, 1001, 999_999], top_k=3)

    assert (answer["users_done"], answer["users_unknown"]) == (2, 1)
    assert len(recommended(cache, 1000)) == 3
    assert not cache.exists("recommendations:user:999999")


def test_a_refresh_of_everything_writes_both_tables(bench: Any, cache: redis.Redis) -> None:
    answer = bench.call("refresh_embeddings")

    users = plain_pickle.loads(cache.get("embeddings:user_embeddings"))
    items = plain_pickle.loads(cache.get("embeddings:item_embeddings"))
    assert (answer["users"], answer["items"]) == (120, 80)
    assert users["factors"].shape == (120, 8)
    assert list(users["ids"]) == list(range(1000, 1120))
    assert items["factors"].shape == (80, 8)
    assert items["model_version"] == answer["model_version"]


def test_plays_of_a_new_user_are_folded_in_and_change_what_is_recommended(bench: Any, cache: redis.Redis) -> None:
    plays = [{"user_id": 5, "item_id": item, "plays": 3} for item in (300, 301, 302, 303)]

    answer = bench.call("refresh_embeddings", plays=plays, top_k=5)

    assert (answer["users"], answer["plays"], answer["users_unknown"]) == (1, 4, 0)
    assert {item // 100 for item in recommended(cache, 5)} == {3}
    assert not set(recommended(cache, 5)) & {300, 301, 302, 303}
    assert plain_pickle.loads(cache.get("embeddings:user:5"))["vector"].shape == (8,)
    pending = PendingPlays.read(cache.lrange("plays:user:5", 0, -1))
    assert [item for _, item, _, _ in pending.plays] == [300, 301, 302, 303]


def test_a_wrong_argument_fails_once_with_each_bad_field(bench: Any, wait_until: Any) -> None:
    with Watch(bench.fleet.server) as watch:
        sent = bench.send("compute_recommendations", top_k=0, colour="blue")
        error = sent.get(timeout=100, propagate=False)
        wait_until(lambda: "task-failed" in watch.types(sent.id), 5, "the event")
        executions = watch.executions(sent.id)

    assert type(error).__name__ == "MessageError"
    assert {problem["field"] for problem in error.args[1]} == {"top_k", "colour"}
    assert executions == 1


def test_a_data_set_that_is_not_there_fails_at_once_and_changes_nothing(bench: Any, cache: redis.Redis) -> None:
    live = cache.get("model:current")
    error = bench.send("train_model", dataset="nothing.csv").get(timeout=100, propagate=False)

    assert isinstance(error, FileNotFoundError)
    assert cache.get("model:current") == live
