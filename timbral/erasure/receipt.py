"""Receipt: what an erasure has removed so far, counted where it outlives the worker that counts."""

from __future__ import annotations

import redis

from timbral import keys
from timbral.config.settings import settings
from timbral.redis_server.replies import texts

__all__ = ["Receipt"]


class Receipt:
    """The counts of one task. What was removed by a worker that was lost is counted once: the next one finds it
    gone."""

    def __init__(self, redis_client: redis.Redis, task_id: str) -> None:
        self.redis = redis_client
        self._key = keys.forgotten_receipt(task_id)

    def add(self, what: str, n: int) -> None:
        """``n`` more of ``what`` were removed."""
        with self.redis.pipeline(transaction=True) as pipeline:
            pipeline.hincrby(self._key, what, n)
            pipeline.expire(self._key, settings.RESULT_EXPIRES_S)
            pipeline.execute()

    def read(self) -> dict[str, int]:
        """All counts."""
        return {what: int(n) for what, n in texts(self.redis.hgetall(self._key)).items()}
