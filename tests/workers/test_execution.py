"""What surrounds a task's work: once for equal requests, later after an outage, and at once where time heals
nothing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery.app.task import Context
from celery.exceptions import Ignore, Reject, Retry

from timbral import keys
from timbral.errors import DataError, JobCancelledError, ModelStoreError, RedisUnavailableError
from timbral.logic.jobs import Jobs
from timbral.logic.single_flight import SingleFlight
from timbral.queue import layout
from timbral.queue.held_messages import HeldMessages
from workers import execution, outcome, resources, successors

Answer = dict[str, Any]


class FakeTask(SimpleNamespace):
    """As much of a Celery task as execution needs."""

    def __init__(
        self, task_id: str, retries: int = 0, retry: Callable[..., Retry] | None = None, tag: str | None = None
    ) -> None:
        request = Context(id=task_id, retries=retries, delivery_info={}, properties={"delivery_tag": tag})
        super().__init__(name="refresh_embeddings", request=request, retry=retry or (lambda **options: Retry("later")))


@pytest.fixture
def stored(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What was stored for other tasks: by task id, an answer or an error."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(resources, "records", lambda: client)
    monkeypatch.setattr(resources, "broker", lambda: client)
    monkeypatch.setattr(resources, "held", lambda: HeldMessages(client))
    monkeypatch.setattr(resources, "jobs", lambda: Jobs(client))
    monkeypatch.setattr(resources, "flights", lambda: SingleFlight(client, lambda task_id: True, 60))
    for name in ("succeed", "fail"):
        monkeypatch.setattr(successors, name, lambda task_id, task, result, asked: found.__setitem__(task_id, result))
    monkeypatch.setattr(outcome, "_send_event", lambda kind, task_id, **fields: None)
    return found


def run(task_id: str, work: Callable[[str], Answer], **options: Any) -> Answer:
    return execution.run_once(FakeTask(task_id), work, {"user_ids": [7]}, "v1", **options)


def test_ten_refreshes_at_once_do_the_work_twice_at_most_and_each_gets_its_own_answer(stored: dict[str, Any]) -> None:
    passes: list[int] = []

    def work(_digest: str) -> Answer:
        passes.append(len(passes))
        if len(passes) == 1:  # while it runs, nine more arrive, with plays that this pass has not read
            for number in range(1, 10):
                with pytest.raises(Ignore):
                    run(f"task {number}", work, own={"plays": number}, again_for_followers=True)
        return {"users": 1, "plays": 0, "pass": len(passes)}

    answer = run("task 0", work, own={"plays": 100}, again_for_followers=True)

    assert len(passes) == 2, "once for the first, once for all nine"
    assert answer == {"users": 1, "plays": 100, "pass": 2}
    assert stored == {f"task {number}": {"users": 1, "plays": number, "pass": 2} for number in range(1, 10)}


def test_equal_trainings_at_once_do_the_work_once(stored: dict[str, Any]) -> None:
    passes: list[int] = []

    def work(_digest: str) -> Answer:
        passes.append(1)
        with pytest.raises(Ignore):
            run("second", work)
        return {"model_version": "v"}

    assert run("first", work) == {"model_version": "v"}
    assert stored == {"second": {"model_version": "v"}}
    assert len(passes) == 1


def test_a_failure_is_that_of_all_who_wait(stored: dict[str, Any]) -> None:
    def work(_digest: str) -> Answer:
        with pytest.raises(Ignore):
            run("second", work)
        raise DataError("no rows", "plays.csv")

    with pytest.raises(DataError):
        run("first", work)
    assert isinstance(stored["second"], DataError)
    assert run("third", lambda digest: {"fine": True}) == {"fine": True}


def test_an_outage_keeps_the_lead_for_the_next_try(stored: dict[str, Any]) -> None:
    def work(_digest: str) -> Answer:
        with pytest.raises(Ignore):
            run("second", work)
        raise redis.exceptions.ConnectionError("gone")

    with pytest.raises(redis.exceptions.ConnectionError):
        run("first", work)

    assert stored == {}
    assert run("first", lambda digest: {"n": 1}) == {"n": 1}
    assert stored == {"second": {"n": 1}}


def test_a_leader_that_is_cancelled_hands_over(stored: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[Any, ...]] = []
    monkeypatch.setattr("workers.publishing.publish", lambda *call: sent.append(call))

    def work(_digest: str) -> Answer:
        with pytest.raises(Ignore):
            run("second", work)
        raise JobCancelledError("first", "it was cancelled")

    with pytest.raises(JobCancelledError):
        run("first", work)
    assert [call[:3] for call in sent] == [("refresh_embeddings", {"user_ids": [7]}, "second")]
    assert stored == {}


@pytest.mark.parametrize("held_by", ["another worker", "nobody", "this worker"])
def test_what_fails_when_another_has_the_message_is_no_answer(
    stored: dict[str, Any], client: redis.Redis, held_by: str
) -> None:
    # given: a task that stood still past the visibility timeout, or did not; "nobody" is a record that Redis refused
    task = FakeTask("first", tag="mine")
    tags = {"another worker": "theirs", "this worker": "mine"}
    if held_by in tags:
        client.hset(layout.UNACKED, tags[held_by], '[{"headers": {"id": "first"}}]')

    def work(_digest: str) -> Answer:
        with pytest.raises(Ignore):
            run("second", work)
        raise FileNotFoundError("what the other delivery has cleared away")

    with (
        pytest.raises(Ignore if held_by == "another worker" else FileNotFoundError),
        execution.delivery(task),  # type: ignore[arg-type]  # as much of a task as is needed
    ):
        execution.run_once(task, work, {"user_ids": [7]}, "v1")

    assert set(stored) == (set() if held_by == "another worker" else {"second"})


def test_followers_of_a_leader_whose_message_was_parked_get_the_reason(stored: dict[str, Any]) -> None:
    flights = resources.flights()
    flights.join("digest", "first", "train_model", {})
    flights.join("digest", "second", "train_model", {})

    outcome.given_up("first", "train_model", {}, DataError("poison"))

    assert isinstance(stored["second"], DataError)
    assert flights.flight("digest") is None


@pytest.mark.parametrize(
    "error", [redis.exceptions.ConnectionError("x"), redis.exceptions.OutOfMemoryError("x"), TimeoutError()]
)
def test_what_time_heals_is_tried_again(stored: dict[str, Any], error: Exception) -> None:
    with pytest.raises(Retry), execution.delivery(FakeTask("task")):
        raise error


@pytest.mark.parametrize(
    "error", [DataError("x"), ModelStoreError("file", "disk full"), ValueError("x"), FileNotFoundError()]
)
def test_what_time_does_not_heal_fails_at_once(stored: dict[str, Any], client: redis.Redis, error: Exception) -> None:
    client.hset(keys.SUBMITTED, "task", "{}")
    with pytest.raises(type(error)), execution.delivery(FakeTask("task")):
        raise error
    assert not client.hexists(keys.SUBMITTED, "task")


def test_after_the_last_try_an_outage_is_an_error_of_ours(stored: dict[str, Any]) -> None:
    task = FakeTask("task", retries=execution.MAX_RETRIES)
    with pytest.raises(RedisUnavailableError, match="not available"), execution.delivery(task):
        raise redis.exceptions.TimeoutError("slow")


def test_a_try_that_cannot_be_sent_leaves_the_message_in_the_queue(stored: dict[str, Any]) -> None:
    def retry(**options: Any) -> Retry:
        raise Reject("broker away", requeue=False)

    with pytest.raises(Reject) as caught, execution.delivery(FakeTask("task", retry=retry)):
        raise ConnectionError("gone")
    assert caught.value.requeue is True


def test_a_cancelled_task_is_not_begun(stored: dict[str, Any], cancel: Callable[[str], bool]) -> None:
    cancel("task")
    with pytest.raises(JobCancelledError), execution.delivery(FakeTask("task")):
        pytest.fail("it was begun")
