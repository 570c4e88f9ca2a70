"""What a rescue costs does not follow what waits: the server looks, and no message leaves it."""

from __future__ import annotations

import base64
import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import redis

from timbral import keys
from timbral.logic.rescue import Rescue
from timbral.logic.submitted import PER_LOOK


def fill(client: redis.Redis, n_messages: int, body_bytes: int) -> None:
    """As a backlog is: each message in its queue, and in the record of what was submitted."""
    body = base64.b64encode(b"x" * body_bytes).decode()
    with client.pipeline(transaction=False) as pipe:
        for n in range(n_messages):
            record = {
                "task": "refresh_embeddings",
                "kwargs": {"plays": body},
                "queue": "celery",
                "at": time.time() - 600,
            }
            pipe.hset(keys.SUBMITTED, f"task-{n}", json.dumps(record))
            pipe.lpush("celery", json.dumps({"body": body, "headers": {"id": f"task-{n}"}, "properties": {}}))
            if n % 500 == 499:
                pipe.execute()
        pipe.execute()


def measured(client: redis.Redis, work: Callable[[], Any]) -> tuple[int, int, int]:
    """Bytes that the server sent, commands that it was given, and the most memory that was taken here."""
    before = client.info("stats")
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    after = client.info("stats")
    return (
        after["total_net_output_bytes"] - before["total_net_output_bytes"],
        after["total_commands_processed"] - before["total_commands_processed"],
        peak,
    )


def rescue(client: redis.Redis) -> Rescue:
    def fail(*call: Any) -> None:
        pytest.fail(f"sent again or given up: {call}")

    return Rescue(client, client, fail, fail, 1.0)


@pytest.mark.parametrize(("n_messages", "body_bytes"), [(40_000, 100), (20, 5_000_000)])
def test_a_rescue_moves_no_message_and_sends_none_again(client: redis.Redis, n_messages: int, body_bytes: int) -> None:
    fill(client, n_messages, body_bytes)
    made = rescue(client)
    made.held.among(["nobody"])  # the scripts are there

    sent, commands, peak = measured(client, made.run)

    assert sent < 1_000_000
    assert peak < 10_000_000
    # a call for each thousand messages: of commands, the scripts' own are counted too
    assert commands < 3 * n_messages + 2_000


def test_a_long_record_is_gone_through_by_parts(client: redis.Redis) -> None:
    fill(client, 2 * PER_LOOK, 10)
    made = rescue(client)

    looks = [made.submitted.due(1.0) for _ in range(8)]

    assert all(len(look) <= 2 * PER_LOOK for look in looks)
    assert len(set().union(*map(set, looks))) == 2 * PER_LOOK, "each record is looked at, sooner or later"


def test_a_rescue_that_took_long_is_not_done_again_soon(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    made = rescue(client)
    # What is measured is how long it took: here 0.2 s.
    monkeypatch.setattr(made, "_run", lambda: time.sleep(0.2) or made.flights.due() or (0, 0, 0))

    made.run()

    assert client.pttl(keys.RESCUE_LOCK) > 2_000, "twenty times as long"
