"""RedisJournal: the trials of a job as Optuna writes them down, in one Redis list that all workers share.

Optuna's own backend opens a connection by a URL alone; ours comes with the fleet's patience, TLS, Sentinel and
KEY_PREFIX, and a life that ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import redis
from optuna.storages.journal import BaseJournalBackend

from timbral import keys
from timbral.config.settings import settings

__all__ = ["RedisJournal"]


class RedisJournal(BaseJournalBackend):
    """The journal of the job ``job_id``. Processes append at the same time: the server puts the lines in order."""

    def __init__(self, redis_client: redis.Redis, job_id: str) -> None:
        self._redis = redis_client
        self._key = keys.tuning_journal(job_id)

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """The lines from ``log_number_from`` on; the first is 0."""
        return [json.loads(line) for line in self._redis.lrange(self._key, log_number_from, -1)]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add lines, all of them or none."""
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.rpush(self._key, *(json.dumps(log) for log in logs))
            # From the last line on: a search is read for as long as its job's answer.
            pipeline.expire(self._key, settings.RESULT_EXPIRES_S)
            pipeline.execute()
