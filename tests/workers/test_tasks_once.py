"""Equal requests through real workers: the work is done once, and every caller gets the result."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis
from fleet_fixtures import Watch

from timbral import keys
from timbral.errors import JobCancelledError
from timbral.plays.pending import PendingPlays
from timbral.utils import plain_pickle

pytestmark = pytest.mark.integration

Wait = Callable[..., None]


def test_equal_trainings_at_once_train_one_version_and_all_callers_get_it(
    bench: Any, cache: redis.Redis, wait_until: Wait
) -> None:
    before = int(cache.get(keys.MODEL_FENCE) or 0)
    sent = [bench.slow_training(random_state=1) for _ in range(5)]

    answers = [one.get(timeout=100) for one in sent]

    assert len({answer["model_version"] for answer in answers}) == 1
    assert int(cache.get(keys.MODEL_FENCE)) == before + 1
    assert [one.state for one in sent] == ["SUCCESS"] * 5
    wait_until(lambda: not cache.exists(keys.ONCE_OPEN), 5, "the end of the request")


def test_an_equal_training_that_fails_fails_for_all(bench: Any) -> None:
    sent = [bench.send("train_model", dataset="slow.csv", user_col="nobody") for _ in range(4)]

    errors = [one.get(timeout=100, propagate=False) for one in sent]

    assert {type(error).__name__ for error in errors} == {"MissingColumnsError"}


def test_another_seed_is_another_training(bench: Any) -> None:
    sent = [bench.slow_training(random_state=seed, max_iter=2) for seed in (5, 6)]
    assert len({one.get(timeout=100)["model_version"] for one in sent}) == 2


def test_ten_refreshes_at_once_for_one_user_lose_no_play(bench: Any, cache: redis.Redis) -> None:
    items = [300, 301, 302, 303, 304, 305, 306, 307, 308, 309]
    sent = [bench.send("refresh_embeddings", plays=[{"user_id": 77, "item_id": item}]) for item in items]

    answers = [one.get(timeout=100) for one in sent]

    pending = PendingPlays.read(cache.lrange("plays:user:77", 0, -1))
    assert sorted((item, plays) for _, item, plays, _ in pending.plays) == [(item, 1.0) for item in items]
    assert {(answer["users"], answer["plays"]) for answer in answers} == {(1, 1)}
    listed = {entry["item_id"] for entry in json.loads(cache.get("recommendations:user:77"))}
    assert listed
    assert not listed & set(items), "the list is from before the last play"
    assert plain_pickle.loads(cache.get("embeddings:user:77"))["vector"].any()


def test_requests_for_everybody_at_once_are_fewer_jobs(bench: Any, wait_until: Wait) -> None:
    with Watch(bench.fleet.server) as watch:
        sent = [bench.send("compute_recommendations", top_k=4) for _ in range(4)]
        answers = [one.get(timeout=100) for one in sent]
        chunks = watch.executions_by_name()["compute_chunk"]

    # 121 where a test before this one has had somebody new play something
    assert {answer["users_done"] for answer in answers} <= {120, 121}
    assert len({answer["job_id"] for answer in answers}) * 13 >= chunks


def test_a_running_training_can_be_cancelled_and_its_follower_goes_on(
    bench: Any, cache: redis.Redis, wait_until: Wait
) -> None:
    leader = bench.slow_training(random_state=21)
    wait_until(lambda: cache.hget(keys.progress(leader.id), "text"), 20, "progress of the training")
    follower = bench.slow_training(random_state=21)
    wait_until(lambda: cache.zcard(keys.ONCE_OPEN) and follower.state == "STARTED", 20, "the follower")

    assert bench.cancel(leader.id)

    error = leader.get(timeout=100, propagate=False)
    assert isinstance(error, JobCancelledError)
    assert follower.get(timeout=100)["promoted"] is False


def test_a_queued_task_that_was_cancelled_is_not_begun(bench: Any, cache: redis.Redis) -> None:
    before = cache.zcard("model:versions")
    bench.cancel("cancelled before")

    bench.celery.send_task("train_model", kwargs={"dataset": "plays.csv"}, task_id="cancelled before")

    error = bench.celery.AsyncResult("cancelled before").get(timeout=100, propagate=False)
    assert type(error).__name__ == "JobCancelledError"
    assert cache.zcard("model:versions") == before


def test_a_training_sent_to_the_default_queue_is_moved_to_its_own(bench: Any, cache: redis.Redis) -> None:
    sent = bench.slow_training(max_iter=1)
    sent.get(timeout=100)
    stored = json.loads(cache.get(f"celery-task-meta-{sent.id}"))
    assert stored["queue"] == "training"


def test_progress_is_in_the_state_in_redis_and_in_the_events(bench: Any, cache: redis.Redis, wait_until: Wait) -> None:
    with Watch(bench.fleet.server) as watch:
        sent = bench.slow_training(random_state=31)
        wait_until(lambda: sent.state == "PROGRESS", 20, "the state PROGRESS")
        assert sent.info["total"] == 120
        sent.get(timeout=100)
        progress = cache.hgetall(keys.progress(sent.id))
        wait_until(lambda: "task-succeeded" in watch.types(sent.id), 5, "the last event")
        said = [event["result"] for event in watch.events if event["type"] == "task-progress"]
    assert progress[b"done"] == progress[b"total"] == b"120"
    assert any("sweep" in text for text in said)
