"""Records of the fleet that name users: what producers submitted, requests that are being done, jobs, results of
failure, and jobs that ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import redis

from timbral import keys
from timbral.erasure.messages_held import REPLACE_IN_HASH
from timbral.erasure.receipt import Receipt
from timbral.erasure.subject import Subject
from timbral.queue import layout
from timbral.redis_server.replies import text, texts

__all__ = ["Bookkeeping"]

PER_CALL: Final = 1_000
RESULTS: Final = layout.result_key("*")


class Bookkeeping:
    """The records, of which those of the erasure itself stay until it is done.

    Args:
        records: the Redis of the jobs and requests.
        broker: the Redis of the results.
        task_id: of the erasure.
    """

    def __init__(self, records: redis.Redis, broker: redis.Redis, task_id: str) -> None:
        self.records = records
        self.broker = broker
        self.task_id = task_id
        self._in_hash = records.register_script(REPLACE_IN_HASH)

    def redact(self, subject: Subject, receipt: Receipt) -> None:
        """Put pseudonyms where records name them."""
        for field, value in self.records.hscan_iter(keys.SUBMITTED, count=PER_CALL):
            if text(field) != self.task_id:
                self._replace(keys.SUBMITTED, text(field), text(value), subject, receipt)
        for key in self._hashes(keys.once("*"), but=":followers"):
            self._replace_fields(key, ("arguments",), subject, receipt)
        for key in self._hashes(keys.job("*"), but=":chunks"):
            self._replace_fields(key, ("kwargs", "users:", "error"), subject, receipt)
        for key in self.broker.scan_iter(RESULTS, count=PER_CALL):
            self._blot_result(text(key), subject, receipt)
        for raw in self.broker.lrange(keys.JOBS_ENDED, 0, -1):
            if subject.mentioned_in(text(raw)):
                receipt.add("records", self.broker.lrem(keys.JOBS_ENDED, 0, text(raw)))

    def _hashes(self, pattern: str, but: str) -> Iterator[str]:
        for key in self.records.scan_iter(pattern, count=PER_CALL, _type="HASH"):
            if not text(key).endswith(but):
                yield text(key)

    def _replace_fields(self, key: str, prefixes: tuple[str, ...], subject: Subject, receipt: Receipt) -> None:
        for field, value in texts(self.records.hgetall(key)).items():
            if field.startswith(prefixes):
                self._replace(key, field, value, subject, receipt)

    def _replace(self, key: str, field: str, value: str, subject: Subject, receipt: Receipt) -> None:
        try:
            record = json.loads(value)
        except ValueError:  # no record of ours
            return
        # A job's users are a bare list.
        changed = subject.redacted({"user_ids": record})["user_ids"] if field.startswith("users:") else None
        changed = changed or (subject.redacted(record) if field != "error" else _blotted(record, subject))
        if changed != record:
            receipt.add("records", int(self._in_hash(keys=[key], args=[field, value, json.dumps(changed)])))

    def _blot_result(self, key: str, subject: Subject, receipt: Receipt) -> None:
        """Errors say what was wrong in words, with the value that was; answers of success name nobody."""
        raw: Any = self.broker.get(key)
        stored = raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw or "")
        if not subject.mentioned_in(stored):
            return
        try:
            result = json.loads(stored)
        except ValueError:
            return
        if not isinstance(result, dict) or result.get("status") == "SUCCESS":
            return
        changed = {
            name: _blotted(value, subject) if name in ("result", "traceback") else value
            for name, value in result.items()
        }
        if changed != result:
            receipt.add("records", 1 if self.broker.set(key, json.dumps(changed), xx=True, keepttl=True) else 0)


def _blotted(value: Any, subject: Subject) -> Any:
    if isinstance(value, str):
        return subject.blotted(value)
    if isinstance(value, list):
        return [_blotted(one, subject) for one in value]
    if isinstance(value, dict):
        return {name: _blotted(one, subject) for name, one in value.items()}
    return value
