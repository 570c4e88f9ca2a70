"""Progress is written where the producer reads it, not more often than anyone can look, and the end always."""

from __future__ import annotations

import redis

from timbral import keys
from timbral.logic.progress import ProgressWriter


def test_the_first_and_the_last_step_are_written_and_those_between_are_not_all(client: redis.Redis) -> None:
    reported: list[tuple[int, int, str]] = []
    progress = ProgressWriter(client, "task", lambda *step: reported.append(step))

    for step in range(1, 101):
        progress(step, 100, f"step {step}")

    assert client.hgetall(keys.progress("task")) == {b"done": b"100", b"total": b"100", b"text": b"step 100"}
    assert client.ttl(keys.progress("task")) > 0
    assert reported[0] == (1, 100, "step 1")
    assert reported[-1] == (100, 100, "step 100")
    assert len(reported) < 10
