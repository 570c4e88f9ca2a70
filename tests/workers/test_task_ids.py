"""A task id that is used again: the same message is a redelivery, another one is new work."""

from __future__ import annotations

import time
from typing import Any

import redis

from timbral import keys


def test_a_training_under_last_nights_id_trains_anew(bench: Any) -> None:
    arguments = {"dataset": "plays.csv", "promote": "never"}
    versions = []
    for _ in range(3):
        sent = bench.celery.send_task("train_model", kwargs=arguments, task_id="nightly-train")
        answer = _new_answer(sent, versions)
        versions.append(answer["model_version"])
    assert len(set(versions)) == 3


def test_a_refresh_under_an_old_id_loses_no_plays(bench: Any, cache: redis.Redis, wait_until: Any) -> None:
    user = bench.call("compute_recommendations", top_k=3) and 1
    for n in (1, 2):
        plays = [{"user_id": user, "item_id": 1, "plays": n}]
        bench.celery.send_task("refresh_embeddings", kwargs={"plays": plays}, task_id="user-1")
    wait_until(lambda: cache.llen(keys.plays_user(user)) == 2, 30, "the plays of both")


def test_two_messages_of_one_id_at_a_time_are_done_one_after_the_other(bench: Any, wait_until: Any) -> None:
    pairs = 8  # of which some reach two workers at the same moment
    with bench.fleet.server.client() as client:
        before = int(client.get(keys.MODEL_FENCE) or 0)
        for n in range(pairs):
            for seed in (n, pairs + n):  # two of one seed at a time would be one training
                bench.celery.send_task(
                    "train_model",
                    kwargs={"dataset": "plays.csv", "promote": "never", "random_state": seed},
                    task_id=f"twice-{n}",
                )
        wait_until(lambda: int(client.get(keys.MODEL_FENCE)) == before + 2 * pairs, 60, "both trainings of each id")


def test_everybodys_lists_under_last_nights_id_are_computed_anew(
    bench: Any, cache: redis.Redis, wait_until: Any
) -> None:
    lists = []
    for _ in range(2):
        for key in cache.keys("recommendations:user:*"):
            cache.delete(key)
        bench.celery.send_task("compute_recommendations", kwargs={"top_k": 4}, task_id="nightly-lists")
        wait_until(lambda: cache.keys("recommendations:user:*"), 60, "the first lists")  # of whichever model is live
        wait_until(lambda: not cache.zscore(keys.JOBS_OPEN, "nightly-lists"), 30, "the end of the job")
        lists.append(len(cache.keys("recommendations:user:*")))
    assert lists[0] == lists[1]


def _new_answer(sent: Any, versions: list[str]) -> Any:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        if sent.state == "SUCCESS" and sent.result["model_version"] not in versions:
            return sent.result
        sent = sent.app.AsyncResult(sent.id)  # a result is asked for once and then kept
        time.sleep(0.05)
    raise AssertionError(f"still {sent.state} with {sent.result}")
