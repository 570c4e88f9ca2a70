"""SingleFlight: equal requests at the same time do the work once, and every caller gets the result.

The first task to ask leads and does the work; those that ask the same meanwhile follow: they are noted in Redis and end
without a result, which the leader stores for them. A leader is alive as long as its message is somewhere (in a queue,
with a worker) or its job is open, so no lease has to be renewed; the time in ``once:open`` only says when to look.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, NamedTuple

import redis
import structlog

from timbral import keys
from timbral.redis_server.replies import text, texts

__all__ = ["Flight", "Joined", "SingleFlight", "digest_of"]

logger = structlog.get_logger(__name__)

KEEP_S = 3_600
"""How long a result stays for an equal request that was sent while the work ran, and waited in the queue."""

NOW = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local function at(seconds) return string.format('%.6f', seconds) end
"""
"""Times are the server's: those of two hosts cannot be compared."""

JOIN = (
    NOW
    + """
-- KEYS: flight, followers, open. ARGV: digest, task id, its work, seconds until to look after it, task, arguments,
-- when it was sent ('' unknown), leader that is gone, the task's own part, what its caller asked for.
local state, leader, work = unpack(redis.call('HMGET', KEYS[1], 'state', 'leader', 'work'))
if state == 'done' then
  local sent, ended = tonumber(ARGV[7]), tonumber(redis.call('HGET', KEYS[1], 'ended_at'))
  if (leader == ARGV[2] and work == ARGV[3]) or (sent and sent <= ended) then return {'done', leader, redis.call('HGET', KEYS[1], 'result')} end
  redis.call('DEL', KEYS[1])
  leader = false
end
if leader and leader ~= ARGV[2] and leader ~= ARGV[8] then
  local look = redis.call('ZSCORE', KEYS[3], ARGV[1])
  if not look or tonumber(look) < now then return {'look', leader, ''} end
  redis.call('SADD', KEYS[2], ARGV[2])
  if ARGV[9] ~= '' then redis.call('HSET', KEYS[1], 'own:' .. ARGV[2], ARGV[9]) end
  if ARGV[10] ~= '' then redis.call('HSET', KEYS[1], 'asked:' .. ARGV[2], ARGV[10]) end
  return {'follow', leader, ''}
end
redis.call('HSET', KEYS[1], 'state', 'running', 'leader', ARGV[2], 'work', ARGV[3], 'task', ARGV[5], 'arguments', ARGV[6], 'began_at', at(now))
redis.call('PERSIST', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[2])
redis.call('ZADD', KEYS[3], at(now + ARGV[4]), ARGV[1])
return {'lead', ARGV[2], '', redis.call('SMEMBERS', KEYS[2])}
"""
)

RELEASE = (
    NOW
    + """
-- KEYS: flight, followers, open. ARGV: digest, task id, seconds to keep, result ('' for none), then the followers
-- that have theirs.
if redis.call('HGET', KEYS[1], 'leader') ~= ARGV[2] then return {} end
for place = 5, #ARGV do redis.call('SREM', KEYS[2], ARGV[place]) end
local waiting = redis.call('SMEMBERS', KEYS[2])
if #waiting > 0 then return waiting end
redis.call('ZREM', KEYS[3], ARGV[1])
local work = redis.call('HGET', KEYS[1], 'work')
redis.call('DEL', KEYS[1])
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], 'state', 'done', 'leader', ARGV[2], 'work', work or '', 'result', ARGV[4], 'ended_at', at(now))
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
return {}
"""
)

HAND_OVER = (
    NOW
    + """
-- KEYS: flight, followers, open. ARGV: digest, the leader that is gone, seconds until to look after the next.
if redis.call('HGET', KEYS[1], 'leader') ~= ARGV[2] then return '' end
local next = redis.call('SRANDMEMBER', KEYS[2])
if not next then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[3], ARGV[1])
  return ''
end
redis.call('HSET', KEYS[1], 'leader', next)
redis.call('ZADD', KEYS[3], at(now + ARGV[3]), ARGV[1])
return next
"""
)

LATER = (
    NOW
    + """
-- KEYS: open. ARGV: seconds until to look after it, then digests.
for place = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', at(now + ARGV[1]), ARGV[place]) end
return #ARGV - 1
"""
)

DUE = NOW + "return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', at(now))"


class Joined(NamedTuple):
    """What a task is to do: ``lead`` (the work), ``follow`` (end without a result), or take the ``done`` work's
    result."""

    role: Literal["lead", "follow", "done"]
    leader: str
    result: Any
    followers: list[str]
    """Of one that leads again after it was lost: who waits for it."""


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
        self._later = redis_client.register_script(LATER)
        self._due = redis_client.register_script(DUE)

    def join(
        self,
        digest: str,
        task_id: str,
        task: str,
        arguments: dict[str, Any],
        *,
        own: dict[str, Any] | None = None,
        sent_at_s: float | None = None,
        work: str | None = None,
        asked: dict[str, Any] | None = None,
    ) -> Joined:
        """Lead, follow, or take the result; a leader that is delivered again leads on.

        Args:
            arguments: what a follower is sent again with if the leader is lost.
            own: what of the result is the follower's alone.
            sent_at_s: when it was sent, by the server's time: the result of equal work that ended after that is this
                request's too, which was in the queue while the work ran.
            work: which work the task id is; the id itself where None.
            asked: what the caller wants besides the result; kept for ``asked_of``.
        """
        gone = ""
        while True:
            sent = "" if sent_at_s is None else repr(sent_at_s)
            given, mine = json.dumps(arguments), json.dumps(own) if own else ""
            wanted = json.dumps(asked) if asked else ""
            known: list[Any] = [
                digest,
                task_id,
                work or task_id,
                self.look_after_s,
                task,
                given,
                sent,
                gone,
                mine,
                wanted,
            ]
            reply: Any = self._join(keys=_keys(digest), args=known)
            role, leader, result = map(text, reply[:3])
            if role == "look":
                if self.is_alive(leader):
                    self._later(keys=[keys.ONCE_OPEN], args=[self.look_after_s, digest])
                else:
                    logger.warning("leader lost", leader=leader, task=task)
                    gone = leader
                continue
            if role == "lead":
                return Joined("lead", leader, None, [text(member) for member in reply[3]])
            if role == "follow":
                return Joined("follow", leader, None, [])
            return Joined("done", leader, json.loads(result) | (own or {}), [])

    def followers(self, digest: str) -> list[str]:
        """Ids of the tasks that wait for this request."""
        return [text(member) for member in self.redis.smembers(keys.once_followers(digest))]

    def leave(self, digest: str, task_ids: Sequence[str]) -> None:
        """These do not wait for the request any more."""
        if task_ids:
            own = [f"{part}:{task_id}" for part in ("own", "asked") for task_id in task_ids]
            with self.redis.pipeline(transaction=True) as pipeline:
                pipeline.srem(keys.once_followers(digest), *task_ids)
                pipeline.hdel(keys.once(digest), *own)
                pipeline.execute()

    def own_part(self, digest: str, task_id: str) -> dict[str, Any]:
        """What of the result is this follower's alone."""
        own: dict[str, Any] = json.loads(text(self.redis.hget(keys.once(digest), f"own:{task_id}")) or "{}")
        return own

    def asked_of(self, digest: str, task_id: str) -> dict[str, Any]:
        """What this follower's caller asked for."""
        asked: dict[str, Any] = json.loads(text(self.redis.hget(keys.once(digest), f"asked:{task_id}")) or "{}")
        return asked

    def release(
        self, digest: str, task_id: str, served: Collection[str] = (), result: dict[str, Any] | None = None
    ) -> list[str]:
        """The leader has stored the outcome for the followers ``served``. Gives those that still wait; with none, the
        request is over, and its ``result`` (none for a failure) stays for a while. A task that does not lead changes
        nothing.
        """
        stored = "" if result is None else json.dumps(result)
        known: list[Any] = [digest, task_id, KEEP_S, stored, *served]
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

    def waiting(self, task_ids: Sequence[str]) -> set[str]:
        """Those of the tasks that follow a request that is being done, or lead one."""
        found: set[str] = set()
        for member in self.redis.zrange(keys.ONCE_OPEN, 0, -1):
            digest = text(member)
            follows = self.redis.smismember(keys.once_followers(digest), list(task_ids)) if task_ids else []
            found |= {task_id for task_id, there in zip(task_ids, follows, strict=True) if there}
            found |= {text(self.redis.hget(keys.once(digest), "leader"))} & set(task_ids)
        return found

    def hand_over(self, flight: Flight) -> str | None:
        """The leader is gone or gave up: one of the followers leads now. Gives its id, to be sent again; None without
        one."""
        known: list[Any] = [flight.digest, flight.leader, self.look_after_s]
        return text(self._hand_over(keys=_keys(flight.digest), args=known)) or None

    def due(self) -> list[Flight]:
        """The requests whose leaders are to be looked after now."""
        found = []
        for digest in self._due(keys=[keys.ONCE_OPEN]):
            flight = self.flight(text(digest))
            if flight is None:
                self.redis.zrem(keys.ONCE_OPEN, text(digest))
            else:
                found.append(flight)
        return found

    def postpone(self, digests: Sequence[str]) -> None:
        """Their leaders are alive: look again later."""
        if digests:
            self._later(keys=[keys.ONCE_OPEN], args=[self.look_after_s, *digests])


def digest_of(task: str, arguments: dict[str, Any], *context: object) -> str:
    """Digest of a request: equal for equal arguments in the same context (model version, the data set's state)."""
    canonical = json.dumps([task, arguments, [str(part) for part in context]], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def _keys(digest: str) -> list[str]:
    return [keys.once(digest), keys.once_followers(digest), keys.ONCE_OPEN]
