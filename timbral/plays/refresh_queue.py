"""RefreshQueue: the users who have played something and have no list yet that knows of it.

A user is in it once, however many plays come; while a worker refreshes them, the next play puts them in once more. So a
burst costs one
refresh now and one after. Whoever is being refreshed has a lease: if its worker dies, the user is queued again when it
has run out.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import redis

from timbral import keys
from timbral.keys import decode_id, encode_id
from timbral.messages import Id
from timbral.plays.user_replies import UserReplies
from timbral.queue.begun import NOTE_BEGUN, Begun
from timbral.redis_server.replies import server_now_s, text

__all__ = ["SENT_LIFE_MS", "Claim", "RefreshQueue"]

SENT_LIFE_MS: Final = 10_000
"""While a ``refresh_played`` message waits, no second one is sent; if it is lost, the next play after so long sends
one."""
LEASE_S: Final = 30.0
USERS_PER_CLAIM: Final = 500
TOLD_OF_UP_TO: Final = 50
"""Of so many users a claim tells what their lists are made from: a question less, of which few have two."""
MAX_ATTEMPTS: Final = 5
"""Leases of a user that ran out before they are given up: what kills a worker must not kill all of them."""

CLAIM = (
    NOTE_BEGUN
    + """
-- KEYS: users to refresh, leases, mark of a message that waits, attempts, the live model's version, its revisions,
-- salt of the forgotten, items blocked for all, what lists know of, and begun deliveries, where this claim begins one.
-- ARGV: whether that message is this one, users, life of a lease in s, attempts at most, users that are told of at
-- most, what stands before an id in the keys of plays, blocks and lists, tag of the delivery, life of its note in s.
-- Gives the live version, the revisions, the time when the leases run out, the users taken, the users given up; and of
-- a few users what their lists are made from: salt, blocked items, then of each what the list knows of, plays, blocks.
-- Without a live model nobody is taken: they wait for the first one.
if KEYS[10] then note_begun(KEYS[10], ARGV[9], ARGV[10]) end
local live = redis.call('GET', KEYS[5])
if not live then return {''} end
if ARGV[1] == '1' then redis.call('DEL', KEYS[3]) end
local moment = redis.call('TIME')
local now = tonumber(moment[1]) + tonumber(moment[2]) / 1000000
local given_up = {}
for _, user in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1000)) do
  redis.call('ZREM', KEYS[2], user)
  if redis.call('HINCRBY', KEYS[4], user, 1) >= tonumber(ARGV[4]) then
    redis.call('HDEL', KEYS[4], user)
    given_up[#given_up + 1] = user
  else
    redis.call('ZADD', KEYS[1], 'NX', now, user)
  end
end
local ends = string.format('%.6f', now + tonumber(ARGV[3]))
local troubled = redis.call('EXISTS', KEYS[4]) == 1
local wanted, taken = tonumber(ARGV[2]), {}
for _, user in ipairs(redis.call('ZRANGE', KEYS[1], 0, 2 * wanted - 1)) do
  -- Who was in a batch that was lost goes alone: if they are what kills it, they take nobody with them.
  local alone = troubled and redis.call('HEXISTS', KEYS[4], user) == 1
  if #taken < wanted and not (alone and #taken > 0) and not redis.call('ZSCORE', KEYS[2], user) then
    redis.call('ZREM', KEYS[1], user)
    redis.call('ZADD', KEYS[2], ends, user)
    taken[#taken + 1] = user
    if alone then break end
  end
end
local told = {}
if #taken > 0 and #taken <= tonumber(ARGV[5]) then
  local listed, plays, blocks = {}, {}, {}
  for place, user in ipairs(taken) do
    local readable, decoded = pcall(cjson.decode, '[' .. user .. ']')
    local id = string.sub(user, 1, 1) == '"' and readable and decoded[1] or user
    listed[place] = redis.call('HGET', KEYS[9], ARGV[8] .. id)
    plays[place] = redis.call('LRANGE', ARGV[6] .. id, 0, -1)
    blocks[place] = redis.call('SMEMBERS', ARGV[7] .. id)
  end
  told = {redis.call('GET', KEYS[7]), redis.call('SMEMBERS', KEYS[8]), listed, plays, blocks}
end
return {live, redis.call('HGETALL', KEYS[6]), ends, taken, given_up, told}
"""
)

FINISH = """
-- KEYS: users to refresh, leases, attempts, the live model's version. ARGV: when the leases run out, the version that
-- was live, then the users. How many users wait now: they do again where another one went live meanwhile.
local replaced = redis.call('GET', KEYS[4]) ~= ARGV[2]
local now = redis.call('TIME')[1]
for place = 3, #ARGV do
  local ends = redis.call('ZSCORE', KEYS[2], ARGV[place])
  if ends and tonumber(ends) == tonumber(ARGV[1]) then
    redis.call('ZREM', KEYS[2], ARGV[place])
    redis.call('HDEL', KEYS[3], ARGV[place])
  end
  if replaced then redis.call('ZADD', KEYS[1], 'NX', now, ARGV[place]) end
end
return redis.call('ZCARD', KEYS[1])
"""


class Claim(NamedTuple):
    """Users whose refresh is this worker's now; those given up were claimed too often and never finished.

    ``live`` is the version that is live, ``revisions`` those of all versions, ``replies`` what the lists of a few users
    are made from: asked for in the same step.
    """

    live: str
    revisions: dict[str, str]
    ends: str
    user_ids: list[Id]
    given_up: list[Id]
    replies: UserReplies | None


class RefreshQueue:
    """The users to refresh, oldest first."""

    def __init__(self, redis_client: redis.Redis) -> None:
        self.redis = redis_client
        self._claim = redis_client.register_script(CLAIM)
        self._finish = redis_client.register_script(FINISH)

    def claim(self, *, arrived: bool, n_users: int = USERS_PER_CLAIM, begun: Begun | None = None) -> Claim | None:
        """Take the users who wait longest; ``arrived`` with the first claim of a message, which makes room for the next
        one. None, and nothing but ``begun`` is noted, where no model is live."""
        known = [
            keys.PLAYS_REFRESH, keys.PLAYS_REFRESHING, keys.PLAYS_REFRESH_SENT, keys.PLAYS_REFRESH_ATTEMPTS,
            keys.MODEL_CURRENT, keys.MODEL_REVISIONS, keys.FORGOTTEN_SALT, keys.BLOCKS_ITEMS, keys.PLAYS_LISTED,
        ]  # fmt: skip
        before = keys.plays_user(""), keys.blocks_user(""), keys.recommendations_user("")
        arguments: list[Any] = [int(arrived), n_users, LEASE_S, MAX_ATTEMPTS, TOLD_OF_UP_TO, *before]
        if begun:
            known.append(begun.key)
            arguments += [begun.tag, begun.life_s]
        reply: Any = self._claim(keys=known, args=arguments)
        live = text(reply[0])
        if not live:
            return None
        listed, ends, taken, given_up, told = reply[1:]
        revisions = dict(zip(map(text, listed[::2]), map(text, listed[1::2]), strict=True))
        user_ids = [decode_id(user) for user in taken]
        replies = UserReplies(user_ids, *told) if told else None
        return Claim(live, revisions, text(ends), user_ids, [decode_id(user) for user in given_up], replies)

    def finish(self, claim: Claim) -> int:
        """The claim's users are refreshed, with the model that was live; returns how many wait now."""
        known = [keys.PLAYS_REFRESH, keys.PLAYS_REFRESHING, keys.PLAYS_REFRESH_ATTEMPTS, keys.MODEL_CURRENT]
        arguments = [claim.ends, claim.live, *(encode_id(user_id) for user_id in claim.user_ids)]
        return int(self._finish(keys=known, args=arguments))

    def give_back(self, claim: Claim) -> None:
        """The claim could not be worked on: its users are tried again, one by one."""
        members = {encode_id(user_id): 0.0 for user_id in claim.user_ids}
        if members:
            self.redis.zadd(keys.PLAYS_REFRESHING, members, xx=True)

    def let_go(self, claim: Claim) -> None:
        """The claim was not begun: its users wait on, as if nobody had taken them."""
        members = {encode_id(user_id): server_now_s(self.redis) for user_id in claim.user_ids}
        if members:
            with self.redis.pipeline(transaction=True) as pipeline:
                pipeline.zadd(keys.PLAYS_REFRESH, members, nx=True)
                pipeline.zrem(keys.PLAYS_REFRESHING, *members)
                pipeline.execute()

    def waiting(self) -> int:
        """Users who wait, or whose worker is gone."""
        with self.redis.pipeline(transaction=False) as pipeline:
            pipeline.zcard(keys.PLAYS_REFRESH)
            pipeline.zcount(keys.PLAYS_REFRESHING, "-inf", server_now_s(self.redis))
            waiting, lost = pipeline.execute()
        return int(waiting) + int(lost)

    def may_send(self) -> bool:
        """Whether a ``refresh_played`` message should be sent now, by whoever asks: none waits that was sent lately."""
        return bool(self.redis.set(keys.PLAYS_REFRESH_SENT, 1, nx=True, px=SENT_LIFE_MS))
