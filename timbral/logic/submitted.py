"""Submitted: what producers have noted before they sent it, and what has no effect yet."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

import redis

from timbral import keys
from timbral.redis_server.replies import text

__all__ = ["Submission", "Submitted"]

PER_LOOK: Final = 2_000
"""Records that one look goes through, of however many there are; the next one goes on behind them."""
PER_CALL: Final = 200
BYTES_PER_CALL: Final = 4_000_000

# KEYS: records. ARGV: cursor, age in s, most records, most bytes. The next cursor, ids that are due, and ids whose time
# is missing or wrong. A time stands at the end of its record. The server reads them: a record has all the arguments of
# its task.
_DUE = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local cursor, left, bytes_left, due, odd = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), {}, {}
repeat
  local reply = redis.call('HSCAN', KEYS[1], cursor, 'COUNT', 10)
  cursor = reply[1]
  for place = 1, #reply[2], 2 do
    local id, record = reply[2][place], reply[2][place + 1]
    local at = tonumber(string.match(string.sub(record, -200), '.*"at":%s*([%d%.]+)'))
    if not at or at > now + 1 then odd[#odd + 1] = id
    elseif at < now - ARGV[2] then due[#due + 1] = id end
    left, bytes_left = left - 1, bytes_left - #record
  end
until cursor == '0' or left <= 0 or bytes_left <= 0
return {cursor, due, odd, string.format('%.6f', now)}
"""

# KEYS: records. ARGV: id, its record as it was read, what it shall be. Nothing where it was forgotten or changed since.
_REPLACE = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""


class Submission(NamedTuple):
    """What was sent, and how often it was sent again."""

    task: str
    kwargs: dict[str, Any]
    times: int


class Submitted:
    """The records of what was submitted, in Redis."""

    def __init__(self, records: redis.Redis) -> None:
        self.redis = records
        self._due = records.register_script(_DUE)
        self._replace = records.register_script(_REPLACE)

    def due(self, after_s: float) -> list[str]:
        """Ids of what was submitted longer ago than ``after_s``: of the part of the records that this look goes
        through."""
        cursor, found, seen = text(self.redis.get(keys.RESCUE_CURSOR)) or "0", [], 0
        while seen < PER_LOOK:
            reply = self._due(keys=[keys.SUBMITTED], args=[cursor, after_s, PER_CALL, BYTES_PER_CALL])
            cursor, due, odd = text(reply[0]), [text(one) for one in reply[1]], [text(one) for one in reply[2]]
            found += due
            seen += PER_CALL
            self._put_right(odd, float(text(reply[3])))
            if cursor == "0":
                break
        self.redis.set(keys.RESCUE_CURSOR, cursor)
        return found

    def _put_right(self, odd: list[str], now_s: float) -> None:
        """Records without a time, or of a time to come: counted from now on. What is no record goes."""
        for task_id in odd:
            value = self.redis.hget(keys.SUBMITTED, task_id)
            sent = _sent(value)
            if sent is not None:
                self._put(task_id, value, sent | {"at": now_s})
            elif value is not None:
                self.redis.hdel(keys.SUBMITTED, task_id)

    def read(self, task_id: str) -> Submission | None:
        """One record; None where there is none, or none that could be sent, which then goes."""
        value = self.redis.hget(keys.SUBMITTED, task_id)
        sent = _sent(value)
        if sent is None:
            if value is not None:
                self.redis.hdel(keys.SUBMITTED, task_id)
            return None
        times = sent.get("times")
        return Submission(sent["task"], sent["kwargs"], times if isinstance(times, int) else 0)

    def sent_again(self, task_id: str) -> None:
        """Count that it was sent once more; nothing where its effect is there by now."""
        value = self.redis.hget(keys.SUBMITTED, task_id)
        sent = _sent(value)
        if sent is not None:
            times = sent.get("times")
            again = {"times": (times if isinstance(times, int) else 0) + 1, "at": sent.pop("at", 0.0)}
            self._put(task_id, value, sent | again)

    def _put(self, task_id: str, before: Any, sent: dict[str, Any]) -> None:
        self._replace(keys=[keys.SUBMITTED], args=[task_id, before, _json(sent)])

    def forget(self, *task_ids: str) -> None:
        """Their effect is there, or nobody wants it any more."""
        if task_ids:
            self.redis.hdel(keys.SUBMITTED, *task_ids)


def _json(sent: dict[str, Any]) -> str:
    at = sent.pop("at")
    return json.dumps(sent | {"at": at}, ensure_ascii=False)  # the time last, where the script looks for it


def _sent(value: Any) -> dict[str, Any] | None:
    """A producer's record, None where it is not one."""
    try:
        sent = json.loads(text(value))
        return dict(sent) if isinstance(sent["task"], str) and isinstance(sent["kwargs"], dict) else None
    except (KeyError, TypeError, ValueError):
        return None
