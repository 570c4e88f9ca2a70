"""The trainings that began: which version and fence each was given, and its answer."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import redis

from timbral import keys
from timbral.redis_server.replies import text
from timbral.versions import model_scripts as scripts

__all__ = ["Training", "Trainings"]

FORGET_S = 7 * 86_400


class Training(NamedTuple):
    """What a task's training was given when it first began; ``answer`` is its result, once it is done."""

    version: str
    fence: int
    answer: dict[str, Any] | None


class Trainings:
    """The trainings by their tasks' ids, in Redis."""

    def __init__(self, redis_client: redis.Redis) -> None:
        self.redis = redis_client
        self._begin = redis_client.register_script(scripts.BEGIN)
        self._finish = redis_client.register_script(scripts.FINISH)

    def begin(self, task_id: str) -> Training:
        """A version and a fence for the task's training: new ones the first time, the same ones after a redelivery."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        known = [keys.MODEL_TRAININGS, keys.MODEL_FENCE, keys.MODEL_PROMOTED_FENCE, keys.MODEL_VERSIONS]
        reply = self._begin(keys=known, args=[task_id, stamp])
        ticket = json.loads(text(reply))
        return Training(ticket["version"], int(ticket["fence"]), ticket.get("answer"))

    def finish(self, task_id: str, training: Training, answer: dict[str, Any]) -> None:
        """Keep the training's answer: the task, delivered once more, has nothing left to do. Nothing where the id is
        another training's by now."""
        known = json.dumps({"version": training.version, "fence": training.fence, "answer": answer})
        self._finish(keys=[keys.MODEL_TRAININGS], args=[task_id, training.version, known])

    def count(self, outcome: Literal["promoted", "held_back", "not_asked"]) -> None:
        """Count a training that ended, for whoever watches: a gate that refuses goes unseen otherwise."""
        self.redis.hincrby(keys.TRAININGS_ENDED, outcome, 1)

    def going_on(self) -> set[str]:
        """The versions of those that have not ended."""
        return {ticket["version"] for ticket in self._known().values() if ticket.get("answer") is None}

    def forget(self, task_id: str) -> None:
        """The task id is other work's from now on."""
        self.redis.hdel(keys.MODEL_TRAININGS, task_id)

    def forget_old(self) -> list[str]:
        """Forget those that began more than a week ago; gives the versions of those that never ended."""
        oldest = datetime.fromtimestamp(time.time() - FORGET_S, UTC).strftime("%Y%m%dT%H%M%S")
        old = {task_id: ticket for task_id, ticket in self._known().items() if ticket["version"] < oldest}
        if old:
            self.redis.hdel(keys.MODEL_TRAININGS, *old)
        return [ticket["version"] for ticket in old.values() if ticket.get("answer") is None]

    def _known(self) -> dict[Any, dict[str, Any]]:
        known = self.redis.hgetall(keys.MODEL_TRAININGS)
        return {task_id: json.loads(text(ticket)) for task_id, ticket in known.items()}
