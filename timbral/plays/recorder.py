"""PlayRecorder: one step that puts plays on the stream, with the user's pending ones, and asks for the user's list to
be refreshed."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Sequence
from typing import Final, NamedTuple

import redis

from timbral import keys
from timbral.config.settings import settings
from timbral.keys import encode_id
from timbral.lists.forgotten import Forgotten
from timbral.messages import REFRESH_PLAYED, Id, Play
from timbral.plays.refresh_queue import SENT_LIFE_MS
from timbral.queue.message_form import MessageForm

__all__ = ["PlayRecorder", "Recorded"]

PLAYS_PER_CALL: Final = 1_000

# What was recorded before is known by sets without an expiry: a full server lets go of keys that have one, and a play
# would count twice. A set is of one window of time; the last two are looked at, and older ones get an expiry then.
WINDOWS = """
local moment = redis.call('TIME')
local now = tonumber(moment[1]) + tonumber(moment[2]) / 1000000
local function window(prefix, life_s)
  local n = math.floor(now / life_s)
  return prefix .. string.format('%d', n), prefix .. string.format('%d', n - 1), n
end
"""

RECORD = (
    WINDOWS
    + """
-- KEYS: stream, users with plays, users to refresh, mark of a refresh that is sent, counts, and the queue of the
-- refresh's message, where that is on this server.
-- ARGV: mark of this call, prefix of the marks' keys, their life in s, window of event ids in s, prefix of the event
-- ids' keys, whether to refresh, life of the refresh's mark in ms, whether forgotten users were left out, key of their
-- salt (no key of the script's: who may record may only read it, and a script's keys are asked for writing), the
-- refresh's message, then for each play: key of the user's plays, user, event id or '', "item,plays,time" as JSON.
local first, n_plays = 11, (#ARGV - 10) / 4
local marks, marks_before, marks_n = window(ARGV[2], tonumber(ARGV[3]))
for _, set in ipairs({marks, marks_before}) do
  if redis.call('SISMEMBER', set, ARGV[1]) == 1 then
    -- The answer to an earlier try was lost; so may be the message, where its caller was to send it.
    local recorded = n_plays
    for n = 0, n_plays - 1 do
      if redis.call('SISMEMBER', set, ARGV[1] .. ' ' .. n) == 1 then recorded = n end
    end
    return {recorded, n_plays - recorded, KEYS[6] and 0 or tonumber(ARGV[6])}
  end
end
if ARGV[8] == '0' and redis.call('GET', ARGV[9]) then return {} end
local function begin(prefix, life_s, set, n)
  local newest = redis.call('HINCRBY', KEYS[5], 'newest ' .. prefix, 0) -- who only records may not HGET
  if newest < n then
    redis.call('HSET', KEYS[5], 'newest ' .. prefix, n)
    redis.call('EXPIRE', prefix .. string.format('%d', newest - 1), 1)
    if newest < n - 1 then redis.call('EXPIRE', prefix .. string.format('%d', newest), 1) end
  elseif newest > n then -- the server's clock was set back, or windows were shorter
    redis.call('EXPIRE', set, 3 * life_s)
  end
end
local these, before, events_n = window(ARGV[5], tonumber(ARGV[4]))
local kept, entries, has_events = {}, {}, false
for place = first, #ARGV, 4 do
  local event, is_new = ARGV[place + 2], true
  if event ~= '' then
    has_events = true
    is_new = redis.call('SISMEMBER', before, event) == 0 and redis.call('SADD', these, event) == 1
  end
  if is_new then
    kept[#kept + 1] = place
    entries[#entries + 1] = '[' .. ARGV[place + 1] .. ',' .. ARGV[place + 3] .. ']'
  end
end
if has_events then begin(ARGV[5], tonumber(ARGV[4]), these, events_n) end
local twice = n_plays - #kept
if twice > 0 then redis.call('HINCRBY', KEYS[5], 'duplicates', twice) end
local send = 0
if #kept > 0 then
  local total = redis.call('HINCRBY', KEYS[5], 'recorded', #kept)
  local id = redis.call('XADD', KEYS[1], '*', 'plays', '[' .. table.concat(entries, ',') .. ']', 'total', total)
  local users, since = {}, {}
  for n, place in ipairs(kept) do
    redis.call('RPUSH', ARGV[place], id .. ' [' .. ARGV[place + 3] .. ']')
    users[n] = ARGV[place + 1]
    since[2 * n - 1] = now
    since[2 * n] = ARGV[place + 1]
  end
  redis.call('SADD', KEYS[2], unpack(users))
  if ARGV[6] == '1' then redis.call('ZADD', KEYS[3], 'NX', unpack(since)) end
  if ARGV[6] == '1' and redis.call('SET', KEYS[4], 1, 'NX', 'PX', ARGV[7]) then
    -- Where the queue does not take it, the caller tries, and says why it cannot be sent.
    local pushed = KEYS[6] and redis.pcall('LPUSH', KEYS[6], ARGV[10])
    if type(pushed) ~= 'number' then send = 1 end
  end
end
redis.call('SADD', marks, ARGV[1])
if twice > 0 then redis.call('SADD', marks, ARGV[1] .. ' ' .. #kept) end
begin(ARGV[2], tonumber(ARGV[3]), marks, marks_n)
return {#kept, twice, send}
"""
)

FORGET = (
    WINDOWS
    + """
-- ARGV: prefix of the marks' keys, their life in s, plays in a step at most, then marks.
for _, set in ipairs({window(ARGV[1], tonumber(ARGV[2]))}) do
  for place = 4, #ARGV do
    if type(set) == 'string' and redis.call('SREM', set, ARGV[place]) == 1 then
      for n = 0, tonumber(ARGV[3]) - 1 do redis.call('SREM', set, ARGV[place] .. ' ' .. n) end
    end
  end
end
"""
)


class Recorded(NamedTuple):
    """Plays that were new, plays whose event id was known, and whether the caller is to send a ``refresh_played``
    message now."""

    plays: int
    duplicates: int
    send_refresh: bool


class PlayRecorder:
    """Records plays: each once, all of its effects in one step.

    Args:
        refresh_message: that of ``refresh_played``, which goes on its queue in the same step; None where the queue is
            on another server, and the caller sends it.
    """

    def __init__(self, redis_client: redis.Redis, refresh_message: MessageForm | None = None) -> None:
        self.refresh_message = refresh_message
        self.forgotten = Forgotten(redis_client)
        self.redis = redis_client
        self._record = redis_client.register_script(RECORD)
        self._forget = redis_client.register_script(FORGET)

    def record(self, plays: Sequence[Play], call_id: str, life_s: int, *, refresh: bool = True) -> Recorded:
        """Record ``plays``; ``PLAYS_PER_CALL`` of them in one step. Those of forgotten users are left out.

        Args:
            call_id: of this call: tried again with the same plays within ``life_s`` seconds, it records nothing more.
            refresh: have the users' vectors and lists refreshed; whoever does it anyway says False.
        """
        counts = [0, 0, 0]
        now_us = time.time_ns() // 1_000
        gone: set[Id] | None = None  # not asked: most fleets have forgotten nobody, and the script would say so
        for part, start in enumerate(range(0, len(plays), PLAYS_PER_CALL)):
            these = plays[start : start + PLAYS_PER_CALL]
            reply = self._step(these, gone, f"{call_id}:{part}", life_s, now_us, refresh)
            if not reply:
                gone = self.forgotten.among(list(dict.fromkeys(play.user_id for play in plays)))
                reply = self._step(these, gone, f"{call_id}:{part}", life_s, now_us, refresh)
            counts = [before + now for before, now in zip(counts, reply, strict=True)]
        return Recorded(counts[0], counts[1], counts[2] > 0)

    def _step(
        self, plays: Sequence[Play], gone: set[Id] | None, mark: str, life_s: int, now_us: int, refresh: bool
    ) -> list[int]:
        """What the script replies; empty where there are forgotten users, and ``gone`` does not say who."""
        form = self.refresh_message if refresh else None
        arguments: list[str | int] = [
            mark, keys.plays_added(life_s), life_s, settings.EVENT_ID_WINDOW_S, keys.PLAYS_EVENTS, int(refresh),
            SENT_LIFE_MS, int(gone is not None), keys.FORGOTTEN_SALT,
            "" if form is None else form.filled_in(f"{REFRESH_PLAYED}-{uuid.uuid4()}"),
        ]  # fmt: skip
        for play in plays:
            if gone and play.user_id in gone:
                continue
            at_us = now_us if play.at is None else round(play.at.timestamp() * 1_000_000)
            rest = f"{encode_id(play.item_id)},{play.plays!r},{at_us}"
            arguments += [keys.plays_user(play.user_id), encode_id(play.user_id), _digest(play.event_id), rest]
        known = [
            keys.PLAYS_STREAM, keys.PLAYS_USERS, keys.PLAYS_REFRESH, keys.PLAYS_REFRESH_SENT, keys.PLAYS_COUNTS,
            *([] if form is None else [form.queue_key]),
        ]  # fmt: skip
        reply: list[int] = self._record(keys=known, args=arguments)
        return reply

    def forget_call(self, call_id: str, life_s: int, n_plays: int) -> None:
        """The id is another call's from now on, which may record up to ``n_plays``."""
        marks = [f"{call_id}:{part}" for part in range(-(-n_plays // PLAYS_PER_CALL))]
        self._forget(args=[keys.plays_added(life_s), life_s, PLAYS_PER_CALL, *marks])


def _digest(event_id: str | None) -> str:
    # An app's event ids may name a user, who may have to be forgotten; and they may be long.
    return hashlib.blake2b(event_id.encode(), digest_size=12).hexdigest() if event_id else ""
