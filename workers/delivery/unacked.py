"""The messages that workers hold and have not acknowledged, as Redis keeps them.

The keys and their content are kombu's, so that its tools still read them; the steps are scripts, for three reasons.
Times are the server's, so that a frozen or restarted server and a wrong clock on some host do not make held messages
look abandoned. Putting back is one claim (HDEL) instead of WATCH on a hash that the whole fleet writes to. And what was
begun is counted with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import redis

from timbral import keys
from timbral.queue import layout
from timbral.queue.begun import NOTE_BEGUN, Begun
from timbral.redis_server.replies import text
from workers.delivery import sent_ahead

__all__ = ["Taken", "Unacked", "begun_of"]

DELIVERIES_TTL_S = 7 * 86_400
"""Life of a count of deliveries after the last one; longer than any cache key, so that eviction takes those first."""
WORK_TTL_S = 8 * 86_400
"""Life of the record of which work a task id is: longer than that of anything which takes a task id as proof of work
done."""

_NOW = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
"""

# KEYS: index, content, begun deliveries, work, result. ARGV: tag, content, work, life of the record of work, task id, 1
# where it is no new message. Gives how often the message's work was begun before, whether its task id is of the "same"
# work, of other work that is done ("used"), or of other work whose message a worker holds ("busy"), and the state of
# the record of work, which each message of the id that may be worked on changes.
_TAKE = (
    _NOW
    + """
redis.call('ZADD', KEYS[1], string.format('%.6f', now), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
if KEYS[3] == nil then return {0, 'same', ''} end
local known = redis.call('HMGET', KEYS[4], 'work', 'tag', 'state', 'not_forgotten')
local state = known[3] or ''
if known[1] and known[1] ~= ARGV[3] then
  if known[2] and redis.call('HEXISTS', KEYS[2], known[2]) == 1 then return {0, 'busy', state} end
  return {0, 'used', state}
end
if known[4] then return {0, 'used', state} end
if not known[1] and ARGV[6] == '' and ARGV[3] ~= ARGV[5] and redis.call('EXISTS', KEYS[5]) == 1 then
  return {0, 'used', state}
end
if ARGV[3] ~= ARGV[5] then
  state = redis.call('HINCRBY', KEYS[4], 'state', 1)
  redis.call('HSET', KEYS[4], 'work', ARGV[3], 'tag', ARGV[1])
  redis.call('EXPIRE', KEYS[4], ARGV[4])
end
local begun = redis.pcall('SCARD', KEYS[3])
return {type(begun) == 'number' and begun or 0, 'same', tostring(state)}
"""
)

# KEYS: begun deliveries, work. ARGV: tag, work, life of the record, state of the record when the message was taken. The
# task id is this work's from now on, unless another message of the id came first.
_CLAIM = """
if (redis.call('HGET', KEYS[2], 'state') or '') ~= ARGV[4] then return 0 end
redis.call('HINCRBY', KEYS[2], 'state', 1)
redis.call('HSET', KEYS[2], 'work', ARGV[2], 'tag', ARGV[1], 'not_forgotten', 1)
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('DEL', KEYS[1])
return 1
"""

# KEYS: begun deliveries. ARGV: tag, life.
_BEGIN = NOTE_BEGUN + "note_begun(KEYS[1], ARGV[1], ARGV[2])"

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

# KEYS: index, content, queue, begun deliveries (if this one shall not count). ARGV: tag, message, side ('' for
# nowhere), lapsed for, 1 where there may be no record of it. Pushed first: where Redis is full that is refused, and
# nothing has changed.
_PUT_BACK = (
    _NOW
    + """
if ARGV[4] ~= '' then
  local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
  if not score or tonumber(score) > now - tonumber(ARGV[4]) then return 0 end
end
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 and ARGV[5] == '' then
  redis.call('ZREM', KEYS[1], ARGV[1])
  return 0
end
if ARGV[3] ~= '' then redis.call(ARGV[3], KEYS[3], ARGV[2]) end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
if KEYS[4] ~= nil then redis.pcall('SREM', KEYS[4], ARGV[1]) end
return 1
"""
)


def begun_of(tag: str, task_id: str) -> Begun:
    """The note that the work of a message is begun."""
    return Begun(keys.deliveries(task_id), tag, DELIVERIES_TTL_S)


class Taken(NamedTuple):
    """What is known of a message that was just taken."""

    begun: int
    """How often its work was begun before, by workers that did not end it."""
    work: Literal["same", "used", "busy"]
    """Whether its task id is its own, was that of other work before, or is that of other work which a worker holds
    now."""
    state: str
    """Of the record of which work the id is: ``Unacked.claim`` asks for it."""


class Unacked:
    """What is held, in ``index_key`` (zset: delivery tag → when last renewed) and ``content_key`` (hash: tag →
    message).

    Args:
        client: of the broker. Its calls may be made from any thread.
    """

    def __init__(self, client: redis.Redis, index_key: str, content_key: str) -> None:
        self.client = client
        self.index_key = index_key
        self.content_key = content_key
        self._take = client.register_script(_TAKE)
        self._claim = client.register_script(_CLAIM)
        self._renew = client.register_script(_RENEW)
        self._lapsed = client.register_script(_LAPSED)
        self._put_back = client.register_script(_PUT_BACK)

    def take(self, tag: str, content: str, task_id: str | None, work: str | None = None, again: bool = False) -> Taken:
        """Note that this worker holds a message.

        Args:
            work: which piece of work it is; the task id where that says it.
            again: it was delivered before, so what is known of its id is known of this work.
        """
        names, given = self._taking(tag, content, task_id, work, again)
        begun, whose, state = self._take(keys=names, args=given)
        return Taken(int(begun), text(whose), text(state))  # type: ignore[arg-type]  # the script gives one of them

    def take_ahead(self, tag: str, content: str, task_id: str, work: str | None) -> None:
        """The same of a new message under a task id that is no other's, without waiting for it (``sent_ahead``)."""
        names, given = self._taking(tag, content, task_id, work, False)
        sent_ahead.send(self.client, f"note that this worker holds {tag}", "EVAL", _TAKE, len(names), *names, *given)

    def _taking(
        self, tag: str, content: str, task_id: str | None, work: str | None, again: bool
    ) -> tuple[list[str], list[Any]]:
        names = [self.index_key, self.content_key]
        if task_id is not None:
            names += [keys.deliveries(task_id), keys.work(task_id), layout.result_key(task_id)]
        return names, [tag, content, work or task_id or "", WORK_TTL_S, task_id or "", "1" if again else ""]

    def claim(self, tag: str, task_id: str, work: str, state: str) -> bool:
        """The task id is that of this work from now on, and what was done under it is to be forgotten (``forgotten``).

        Args:
            state: as the message was taken.

        Returns:
            False where another message of the id was taken or claimed it since: nothing has changed.
        """
        names = [keys.deliveries(task_id), keys.work(task_id)]
        return bool(self._claim(keys=names, args=[tag, work, WORK_TTL_S, state]))

    def forgotten(self, task_id: str) -> None:
        """What was done under a claimed task id is forgotten. A worker that is lost before it says so leaves that to
        the one that takes the message next."""
        self.client.hdel(keys.work(task_id), "not_forgotten")

    def begin(self, tag: str, task_id: str) -> None:
        """Note that the work is begun, without waiting for it (``sent_ahead``). Twice for one delivery counts once."""
        begun = begun_of(tag, task_id)
        sent_ahead.send(self.client, f"count that {task_id} was begun", "EVAL", _BEGIN, 1, *begun)

    def settle(self, tag: str, task_id: str | None) -> None:
        """The message is done with: forget it and its count."""
        # No transaction: a full Redis 7 refuses every command inside of one, also those that free memory.
        with self.client.pipeline(transaction=False) as pipe:
            # The content first: an index without one is dropped when it lapses, the other way round nobody would see it.
            pipe.hdel(self.content_key, tag)
            pipe.zrem(self.index_key, tag)
            if task_id is not None:
                pipe.delete(keys.deliveries(task_id))
            pipe.execute()

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
        found: Any = self.client.hget(self.content_key, tag)
        return found if isinstance(found, bytes) else None

    def put_back(
        self,
        tag: str,
        payload: str,
        queue_key: str,
        *,
        at_head: bool,
        lapsed_for_s: float | None = None,
        uncount: str | None = None,
        unrecorded: bool = False,
    ) -> bool:
        """Move a message back into its queue; False where somebody else was faster.

        Args:
            at_head: to be taken next, instead of last.
            lapsed_for_s: only if nobody has renewed it for so long.
            uncount: task id for which this delivery was not the message's fault and shall not count.
            unrecorded: also where there is no record of it: Redis refused to write one.
        """
        names = [self.index_key, self.content_key, queue_key]
        if uncount is not None:
            names.append(keys.deliveries(uncount))
        side = "RPUSH" if at_head else "LPUSH"
        condition = "" if lapsed_for_s is None else lapsed_for_s
        return bool(self._put_back(keys=names, args=[tag, payload, side, condition, "1" if unrecorded else ""]))

    def drop(self, tag: str, lapsed_for_s: float | None = None) -> bool:
        """Forget a message that cannot be put back; False where somebody else was faster."""
        condition = "" if lapsed_for_s is None else lapsed_for_s
        names = [self.index_key, self.content_key, self.content_key]  # no queue: the third stands in for one
        return bool(self._put_back(keys=names, args=[tag, "", "", condition, ""]))
