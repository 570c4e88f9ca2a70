"""SingleFlight: equal requests at the same time do the work once, and every caller gets the result.

The first task to ask leads and does the work; those that ask the same meanwhile follow: they are noted in Redis and end without a
result, which the leader stores for them. A leader is alive as long as its message is somewhere (in a queue, with a worker) or
its job is open, so no lease has to be renewed; the time in ``once:open`` only says when to look.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, NamedTuple

import redis
import structlog

from timbral import keys
from timbral.replies import now_s, text, texts

__all__ = ["Flight", "Joined", "SingleFlight", "digest_of"]

logger = structlog.get_logger(__name__)

KEEP_S = 3_600
"""How long a result stays for an equal request that was sent while the work ran, and waited in the queue."""

JOIN = """
-- KEYS: flight, followers, open.
-- ARGV: digest, task id, now, look after, task, arguments, when it was sent ('' unknown), leader that is gone, the task's own part.
local state, leader = unpack(redis.call('HMGET', KEYS[1], 'state', 'leader'))
if state == 'done' then
  local sent, ended = tonumber(ARGV[7]), tonumber(redis.call('HGET', KEYS[1], 'ended_at'))
  if leader == ARGV[2] or (sent and sent <= ended) then return {'done', leader, redis.call('HGET', KEYS[1], 'result')} end
  redis.call('DEL', KEYS[1])
  leader = false
end
if leader and leader ~= ARGV[2] and leader ~= ARGV[8] then
  local look = redis.call('ZSCORE', KEYS[3], ARGV[1])
  if not look or tonumber(look) < tonumber(ARGV[3]) then return {'look', leader, ''} end
  redis.call('SADD', KEYS[2], ARGV[2])
  if ARGV[9] ~= '' then redis.call('HSET', KEYS[1], 'own:' .. ARGV[2], ARGV[9]) end
  return {'follow', leader, ''}
end
redis.call('HSET', KEYS[1], 'state', 'running', 'leader', ARGV[2], 'task', ARGV[5], 'arguments', ARGV[6], 'began_at', ARGV[3])
redis.call('PERSIST', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1])
return {'lead', ARGV[2], ''}
"""

RELEASE = """
-- KEYS: flight, followers, open. ARGV: digest, task id, now, seconds to keep, result ('' for none), then the followers that have theirs.
if redis.call('HGET', KEYS[1], 'leader') ~= ARGV[2] then return {} end
for place = 6, #ARGV do redis.call('SREM', KEYS[2], ARGV[place]) end
local waiting = redis.call('SMEMBERS', KEYS[2])
if #waiting > 0 then return waiting end
redis.call('ZREM', KEYS[3], ARGV[1])
if ARGV[5] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'state', 'done', 'leader', ARGV[2], 'result', ARGV[5], 'ended_at', ARGV[3])
  redis.call('EXPIRE', KEYS[1], ARGV[4])
end
return {}
"""

HAND_OVER = """
-- KEYS: flight, followers, open. ARGV: digest, the leader that is gone, now + look after.
if redis.call('HGET', KEYS[1], 'leader') ~= ARGV[2] then return '' end
local next = redis.call('SRANDMEMBER', KEYS[2])
if not next then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[3], ARGV[1])
  return ''
end
redis.call('HSET', KEYS[1], 'leader', next)
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
return next
"""


class Joined(NamedTuple):
    """What a task is to do: ``lead`` (the work), ``follow`` (end without a result), or take the ``done`` work's result."""

    role: Literal["lead", "follow", "done"]
    leader: str
    result: Any


class Flight(NamedTuple):
    """A request that is being done."""

    digest: str
    leader: str
    task: str
    arguments: dict[str, Any]


class SingleFlight:
    """The requests that are being done right now.

    Args:
        redis_client: holds the bookkeeping.
        is_alive: whether a task's message is somewhere or its job is open.
        look_after_s: seconds after which a leader is looked after.
    """

    def __init__(self, redis_client: redis.Redis, is_alive: Callable[[str], bool], look_after_s: float) -> None:
        self.redis = redis_client
        self.is_alive = is_alive
        self.look_after_s = look_after_s
        self._join = redis_client.register_script(JOIN)
        self._release = redis_client.register_script(RELEASE)
        self._hand_over = redis_client.register_script(HAND_OVER)

    def join(
        self,
        digest: str,
        task_id: str,
        task: str,
        arguments: dict[str, Any],
        *,
        own: dict[str, Any] | None = None,
        sent_at_s: float | None = None,
    ) -> Joined:
        """Lead, follow, or take the result; a leader that is delivered again leads on.

        ``arguments`` are what a follower is sent again with if the leader is lost; ``own`` is what of the result is the
        follower's alone. With ``sent_at_s`` the request also takes the result of equal work that ended after it was
        sent: it was in the queue while the work ran.
        """
        gone = ""
        while True:
            now = now_s()
            sent = "" if sent_at_s is None else repr(sent_at_s)
            given, mine = json.dumps(arguments), json.dumps(own) if own else ""
            known: list[Any] = [digest, task_id, now, now + self.look_after_s, task, given, sent, gone, mine]
            role, leader, result = (text(part) for part in self._join(keys=_keys(digest), args=known))
            if role == "look":
                if self.is_alive(leader):
                    self.redis.zadd(keys.ONCE_OPEN, {digest: now + self.look_after_s})
                else:
                    logger.warning("leader is gone", leader=leader, task=task)
                    gone = leader
                continue
            if role == "lead":
                return Joined("lead", leader, None)
            if role == "follow":
                return Joined("follow", leader, None)
            return Joined("done", leader, json.loads(result) | (own or {}))

    def followers(self, digest: str) -> list[str]:
        """Ids of the tasks that wait for this request."""
        return [text(member) for member in self.redis.smembers(keys.once_followers(digest))]

    def own_part(self, digest: str, task_id: str) -> dict[str, Any]:
        """What of the result is this follower's alone."""
        own: dict[str, Any] = json.loads(text(self.redis.hget(keys.once(digest), f"own:{task_id}")) or "{}")
        return own

    def release(
        self, digest: str, task_id: str, served: Collection[str] = (), result: dict[str, Any] | None = None
    ) -> list[str]:
        """The leader has stored the outcome for the followers ``served``. Gives those that still wait; with none, the request
        is over, and its ``result`` (none for a failure) stays for a while. A task that does not lead changes nothing.
        """
        stored = "" if result is None else json.dumps(result)
        known: list[Any] = [digest, task_id, now_s(), KEEP_S, stored, *served]
        return [text(member) for member in self._release(keys=_keys(digest), args=known)]

    def flight(self, digest: str) -> Flight | None:
        """The request, None where nobody does it."""
        known = texts(self.redis.hgetall(keys.once(digest)))
        if known.get("state") != "running":
            return None
        return Flight(digest, known["leader"], known["task"], json.loads(known["arguments"]))

    def led_by(self, task_id: str) -> Flight | None:
        """The request that the task leads, None where it leads none."""
        for digest in self.redis.zrange(keys.ONCE_OPEN, 0, -1):
            flight = self.flight(text(digest))
            if flight is not None and flight.leader == task_id:
                return flight
        return None

    def hand_over(self, flight: Flight) -> str | None:
        """The leader is gone or gave up: one of the followers leads now. Gives its id, to be sent again; None without one."""
        known: list[Any] = [flight.digest, flight.leader, now_s() + self.look_after_s]
        return text(self._hand_over(keys=_keys(flight.digest), args=known)) or None

    def due(self) -> list[Flight]:
        """The requests whose leaders are to be looked after now."""
        found = []
        for digest in self.redis.zrangebyscore(keys.ONCE_OPEN, "-inf", now_s()):
            flight = self.flight(text(digest))
            if flight is None:
                self.redis.zrem(keys.ONCE_OPEN, text(digest))
            else:
                found.append(flight)
        return found

    def postpone(self, digests: Sequence[str]) -> None:
        """Their leaders are alive: look again later."""
        if digests:
            self.redis.zadd(keys.ONCE_OPEN, dict.fromkeys(digests, now_s() + self.look_after_s), xx=True)


def digest_of(task: str, arguments: dict[str, Any], *context: object) -> str:
    """Digest of a request: equal for equal arguments in the same context (model version, the data set's state)."""
    canonical = json.dumps([task, arguments, [str(part) for part in context]], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def _keys(digest: str) -> list[str]:
    return [keys.once(digest), keys.once_followers(digest), keys.ONCE_OPEN]
