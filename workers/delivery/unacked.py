"""The messages that workers hold and have not acknowledged, as Redis keeps them.

The keys and their content are kombu's, so that its tools still read them; the steps are scripts, for three reasons. Times are
the server's, so that a frozen or restarted server and a wrong clock on some host do not make held messages look abandoned. Putting
back is one claim (HDEL) instead of WATCH on a hash that the whole fleet writes to. And each delivery is counted with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import redis

from timbral import keys

__all__ = ["Unacked"]

DELIVERIES_TTL_S = 7 * 86_400
"""Life of a count of deliveries after the last one; longer than any cache key, so that eviction takes those first."""

_NOW = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
"""

_TAKE = (
    _NOW
    + """
redis.call('ZADD', KEYS[1], string.format('%.6f', now), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
if KEYS[3] == nil then return 0 end
local deliveries = redis.call('INCR', KEYS[3])
redis.call('EXPIRE', KEYS[3], ARGV[3])
return deliveries
"""
)

_RENEW = (
    _NOW
    + """
local renewed = 0
for i = 1, #ARGV do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    redis.call('ZADD', KEYS[1], 'XX', string.format('%.6f', now), ARGV[i])
    renewed = renewed + 1
  end
end
return renewed
"""
)

# After a gap in the looks (server down or frozen, no worker alive) nothing lapses for a while: the living renew first.
_LAPSED = (
    _NOW
    + """
local look = redis.call('HMGET', KEYS[2], 'last', 'quiet_until')
local last, quiet_until = tonumber(look[1] or 0), tonumber(look[2] or 0)
if now - last > tonumber(ARGV[2]) then
  quiet_until = now + tonumber(ARGV[3])
  redis.call('HSET', KEYS[2], 'quiet_until', string.format('%.6f', quiet_until))
end
redis.call('HSET', KEYS[2], 'last', string.format('%.6f', now))
if now < quiet_until then return {} end
return redis.call('ZRANGEBYSCORE', KEYS[1], 0, string.format('%.6f', now - tonumber(ARGV[1])), 'LIMIT', 0, tonumber(ARGV[4]))
"""
)

_PUT_BACK = (
    _NOW
    + """
if ARGV[4] ~= '' then
  local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
  if not score or tonumber(score) > now - tonumber(ARGV[4]) then return 0 end
end
redis.call('ZREM', KEYS[1], ARGV[1])
if redis.call('HDEL', KEYS[2], ARGV[1]) == 0 then return 0 end
if ARGV[3] ~= '' then redis.call(ARGV[3], KEYS[3], ARGV[2]) end
if KEYS[4] ~= nil and redis.call('DECR', KEYS[4]) <= 0 then redis.call('DEL', KEYS[4]) end
return 1
"""
)


class Unacked:
    """What is held, in ``index_key`` (zset: delivery tag → when last renewed) and ``content_key`` (hash: tag → message).

    Args:
        client: of the broker. Its calls may be made from any thread.
    """

    def __init__(self, client: redis.Redis, index_key: str, content_key: str) -> None:
        self.client = client
        self.index_key = index_key
        self.content_key = content_key
        self._take = client.register_script(_TAKE)
        self._renew = client.register_script(_RENEW)
        self._lapsed = client.register_script(_LAPSED)
        self._put_back = client.register_script(_PUT_BACK)

    def take(self, tag: str, content: str, task_id: str | None) -> int:
        """Note that this worker holds a message; returns how often the task's message was delivered, this time included."""
        names = [self.index_key, self.content_key]
        if task_id is not None:
            names.append(keys.deliveries(task_id))
        return int(self._take(keys=names, args=[tag, content, DELIVERIES_TTL_S]))

    def settle(self, tag: str, task_id: str | None) -> None:
        """The message is done with: forget it and its count."""
        with self.client.pipeline() as pipe:
            pipe.zrem(self.index_key, tag)
            pipe.hdel(self.content_key, tag)
            if task_id is not None:
                pipe.delete(keys.deliveries(task_id))
            pipe.execute()

    def uncount(self, task_id: str) -> None:
        """Take a delivery back: whatever happens to the worker now is not this message's fault."""
        self.client.decr(keys.deliveries(task_id))

    def renew(self, tags: Iterable[str]) -> int:
        """Say that these are still held; returns how many of them were."""
        listed = list(tags)
        return int(self._renew(keys=[self.index_key], args=listed)) if listed else 0

    def lapsed(self, visibility_timeout_s: float, gap_s: float, grace_s: float, limit: int = 1000) -> list[str]:
        """Tags that nobody has renewed for ``visibility_timeout_s``, oldest first.

        None for ``grace_s`` after a time of more than ``gap_s`` in which nobody looked.
        """
        arguments: list[Any] = [visibility_timeout_s, gap_s, grace_s, limit]
        found = self._lapsed(keys=[self.index_key, keys.UNACKED_LOOKS], args=arguments)
        return [tag.decode() if isinstance(tag, bytes) else str(tag) for tag in found]

    def content(self, tag: str) -> bytes | None:
        """What was stored with ``take``."""
        found: bytes | None = self.client.hget(self.content_key, tag)  # type: ignore[assignment]
        return found

    def put_back(
        self,
        tag: str,
        payload: str,
        queue_key: str,
        *,
        at_head: bool,
        lapsed_for_s: float | None = None,
        uncount: str | None = None,
    ) -> bool:
        """Move a message back into its queue; False where somebody else was faster.

        Args:
            at_head: to be taken next, instead of last.
            lapsed_for_s: only if nobody has renewed it for so long.
            uncount: task id whose delivery was not the message's fault and shall not count.
        """
        names = [self.index_key, self.content_key, queue_key]
        if uncount is not None:
            names.append(keys.deliveries(uncount))
        side = "RPUSH" if at_head else "LPUSH"
        condition = "" if lapsed_for_s is None else lapsed_for_s
        return bool(self._put_back(keys=names, args=[tag, payload, side, condition]))

    def drop(self, tag: str, lapsed_for_s: float | None = None) -> bool:
        """Forget a message that cannot be put back; False where somebody else was faster."""
        condition = "" if lapsed_for_s is None else lapsed_for_s
        names = [self.index_key, self.content_key, self.content_key]  # no queue: the third stands in for one
        return bool(self._put_back(keys=names, args=[tag, "", "", condition]))
