"""What a caller's Celery asks for beyond one task arrives: chains, chords, links, expiry and priority, whoever does the
work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import chain, chord, group
from celery.result import AsyncResult

from timbral import keys


@pytest.fixture
def told(bench: Any) -> Iterator[Any]:
    """``told()``: what arrived on a queue of the caller's own, which nobody in the fleet reads: each message's task and
    arguments."""
    with bench.fleet.server.client() as client:
        client.delete("callers-own")

        def read() -> list[tuple[str, Any]]:
            found = []
            for value in client.lrange("callers-own", 0, -1):
                message = json.loads(value)
                body = bench.celery.connection_for_read().default_channel.decode_body(message["body"], "base64")
                found.append((message["headers"]["task"], json.loads(body)[0]))
            return found

        yield read
        client.delete("callers-own")


def own(bench: Any, name: str) -> Any:
    """A signature of a task of the caller's own."""
    return bench.celery.signature(name, queue="callers-own")


def test_a_chain_goes_on_after_a_training_and_after_everybodys_fan_out(bench: Any, told: Any, wait_until: Any) -> None:
    train = bench.celery.signature("train_model", kwargs={"dataset": "plays.csv", "promote": "never"})
    compute = bench.celery.signature("compute_recommendations")

    result = chain(train, compute, own(bench, "app.announce")).apply_async()

    wait_until(told, 60, "the chain's last task")
    ((task, (answer,)),) = told()
    assert task == "app.announce"
    assert answer["users_done"] > 0
    assert result.parent.get(timeout=100) == answer
    assert result.parent.parent.get(timeout=100)["model_version"]


def test_a_chord_of_equal_trainings_ends_and_the_work_was_done_once(bench: Any, told: Any, wait_until: Any) -> None:
    arguments = {"dataset": "slow.csv", "n_components": 64, "max_iter": 40, "tol": 0, "promote": "never"}
    equal = [bench.celery.signature("train_model", kwargs=arguments) for _ in range(3)]

    chord(group(equal), own(bench, "app.all_trained")).apply_async()

    wait_until(told, 60, "the chord's body")
    ((task, (answers,)),) = told()
    assert task == "app.all_trained"
    assert len(answers) == 3
    assert len({answer["model_version"] for answer in answers}) == 1


def test_links_of_followers_and_of_a_job_run_once_with_the_result(bench: Any, told: Any, wait_until: Any) -> None:
    asked = [bench.celery.signature("compute_recommendations", kwargs={"top_k": 7}) for _ in range(4)]

    results = [each.apply_async(link=own(bench, f"app.link{n}")) for n, each in enumerate(asked)]

    answers = [result.get(timeout=100) for result in results]
    wait_until(lambda: len(told()) == 4, 30, "all links")
    assert sorted(told()) == sorted((f"app.link{n}", [answer]) for n, answer in enumerate(answers))


def test_the_error_link_of_a_moved_task_runs_with_its_id(bench: Any, told: Any, wait_until: Any) -> None:
    train = bench.celery.signature("train_model", kwargs={"dataset": "nowhere.csv"})

    failed = train.apply_async(link_error=own(bench, "app.failed"), link=own(bench, "app.trained"))

    wait_until(told, 60, "the error link")
    assert told() == [("app.failed", [failed.id])]


def test_a_message_is_moved_to_its_queue_with_all_that_it_carries(
    bench: Any, cache: redis.Redis, wait_until: Any
) -> None:
    # given: a training that has expired, one with a priority, a time limit and a header; all sent to no queue in
    # particular
    expired = bench.celery.send_task("train_model", kwargs={"dataset": "plays.csv"}, expires=-5)
    carried = bench.celery.send_task(
        "train_model", kwargs={"dataset": "plays.csv", "promote": "never"}, priority=6, time_limit=99, headers={"trace": "t-1"}
    )  # fmt: skip

    # then
    wait_until(lambda: expired.state == "REVOKED", 30, "the expiry")
    assert carried.get(timeout=100)["model_version"]
    logs = "".join(worker.log for worker in bench.fleet.workers)
    assert f"Moved train_model {carried.id} to its queue, training" in logs


def test_a_follower_that_takes_over_keeps_its_chain(bench: Any, told: Any, wait_until: Any) -> None:
    # given: a training, and one that follows it with something behind it
    leader = bench.slow_training(n_components=100)
    with bench.fleet.server.client() as client:
        wait_until(lambda: client.zcard(keys.ONCE_OPEN), 30, "the training's beginning")
        arguments = {"dataset": "slow.csv", "n_components": 100, "max_iter": 60, "tol": 0, "promote": "never"}
        follows = bench.celery.signature("train_model", kwargs=arguments)
        follower = chain(follows, own(bench, "app.after")).apply_async().parent
        digest = client.zrange(keys.ONCE_OPEN, 0, -1)[0].decode()
        wait_until(lambda: client.sismember(keys.once_followers(digest), follower.id), 30, "the follower")

        # when: the leader is cancelled
        client.hset(
            keys.job(leader.id),
            mapping={"state": "cancelled", "error": json.dumps(["JobCancelledError", [leader.id, "x"]])},
        )

    # then
    wait_until(told, 60, "what is behind the follower")
    assert (
        told()[0][1][0]["model_version"] == AsyncResult(follower.id, app=bench.celery).get(timeout=100)["model_version"]
    )
