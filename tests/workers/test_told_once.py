"""What follows a task is sent by whoever stores its result; one who is lost in between leaves it to the next."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import redis

from timbral import keys
from workers import resources, successors

LINKED: dict[str, Any] = {"link": [{"task": "app.after"}]}


class FakeApp:
    """As much of a Celery app as telling needs: notes what is stored and what is sent."""

    def __init__(self) -> None:
        self.stored: list[Any] = []
        self.sent: list[Any] = []
        self.refuses = False
        self.backend = SimpleNamespace(
            store_result=lambda task_id, result, state, request: self.stored.append((state, result)),
            mark_as_done=lambda task_id, result, request, store_result: self.stored.append(("SUCCESS", result)),
        )
        self.amqp = SimpleNamespace(queues={})

    def signature(self, name: dict[str, Any]) -> Any:
        def apply_async(arguments: Any, **_: Any) -> None:
            if self.refuses:
                raise ConnectionError("the broker refuses")
            self.sent.append((name["task"], arguments[0]))

        return SimpleNamespace(apply_async=apply_async)


@pytest.fixture
def app(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> FakeApp:
    made = FakeApp()
    monkeypatch.setattr(successors, "current_app", made)
    monkeypatch.setattr(resources, "records", lambda: client)
    return made


def test_what_the_broker_refused_is_sent_by_the_next_try_and_once(app: FakeApp, client: redis.Redis) -> None:
    app.refuses = True
    with pytest.raises(ConnectionError):
        successors.succeed("task", "train_model", {"n": 1}, LINKED)
    assert app.stored == [], "nobody takes it for done"

    app.refuses = False
    for _ in range(2):
        successors.succeed("task", "train_model", {"n": 1}, LINKED)

    assert app.sent == [("app.after", {"n": 1})]
    assert app.stored == [("SUCCESS", {"n": 1})] * 2
    assert client.ttl(keys.told("task")) > successors.TELLING_S


def test_what_a_killed_process_was_about_to_send_is_sent_by_the_next(
    app: FakeApp, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: one that was killed between its mark and the sending
    client.set(keys.told("task"), "telling", ex=successors.TELLING_S)
    looks: list[float] = []

    def lapses(seconds: float) -> None:
        looks.append(seconds)
        client.delete(keys.told("task"))

    monkeypatch.setattr(successors.time, "sleep", lapses)

    successors.succeed("task", "train_model", {"n": 1}, LINKED)

    assert len(looks) == 1
    assert app.sent == [("app.after", {"n": 1})]
