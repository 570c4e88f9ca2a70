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

RECORD = """
-- KEYS: mark of this call, stream, users with plays, users to refresh, mark of a refresh that is sent, counts, and the
-- queue of the refresh's message, where that is on this server.
-- ARGV: life of the mark in s, window of event ids in s, prefix of the event ids' keys, whether to refresh, life of
-- the refresh's mark in ms, whether forgotten users were left out, key of their salt (no key of the script's: who may
-- record may only read it, and a script's keys are asked for writing), the refresh's message, then for each play: key
-- of the user's plays, user, event id or '', "item,plays,time" as JSON.
local known = redis.call('GET', KEYS[1])
if known then
  -- The answer to an earlier try was lost; so may be the message, where its caller was to send it.
  local recorded, twice = string.match(known, '^(%d+) (%d+)$')
  return {tonumber(recorded), tonumber(twice), KEYS[7] and 0 or tonumber(ARGV[4])}
end
if ARGV[6] == '0' and redis.call('GET', ARGV[7]) then return {} end
local moment = redis.call('TIME')
local now = tonumber(moment[1]) + tonumber(moment[2]) / 1000000
local bucket = math.floor(now / tonumber(ARGV[2]))
local these = ARGV[3] .. string.format('%d', bucket)
local before = ARGV[3] .. string.format('%d', bucket - 1)
local kept, entries, has_events = {}, {}, false
for place = 9, #ARGV, 4 do
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
if has_events then redis.call('EXPIRE', these, 3 * tonumber(ARGV[2])) end
local twice = (#ARGV - 8) / 4 - #kept
if twice > 0 then redis.call('HINCRBY', KEYS[6], 'duplicates', twice) end
local send = 0
if #kept > 0 then
  local total = redis.call('HINCRBY', KEYS[6], 'recorded', #kept)
  local id = redis.call('XADD', KEYS[2], '*', 'plays', '[' .. table.concat(entries, ',') .. ']', 'total', total)
  local users, since = {}, {}
  for n, place in ipairs(kept) do
    redis.call('RPUSH', ARGV[place], id .. ' [' .. ARGV[place + 3] .. ']')
    users[n] = ARGV[place + 1]
    since[2 * n - 1] = now
    since[2 * n] = ARGV[place + 1]
  end
  redis.call('SADD', KEYS[3], unpack(users))
  if ARGV[4] == '1' then redis.call('ZADD', KEYS[4], 'NX', unpack(since)) end
  if ARGV[4] == '1' and redis.call('SET', KEYS[5], 1, 'NX', 'PX', ARGV[5]) then
    -- Where the queue does not take it, the caller tries, and says why it cannot be sent.
    local pushed = KEYS[7] and redis.pcall('LPUSH', KEYS[7], ARGV[8])
    if type(pushed) ~= 'number' then send = 1 end
  end
end
redis.call('SET', KEYS[1], #kept .. ' ' .. twice, 'EX', ARGV[1])
return {#kept, twice, send}
"""


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
            life_s, settings.EVENT_ID_WINDOW_S, keys.PLAYS_EVENTS, int(refresh), SENT_LIFE_MS, int(gone is not None),
            keys.FORGOTTEN_SALT, "" if form is None else form.filled_in(f"{REFRESH_PLAYED}-{uuid.uuid4()}"),
        ]  # fmt: skip
        for play in plays:
            if gone and play.user_id in gone:
                continue
            at_us = now_us if play.at is None else round(play.at.timestamp() * 1_000_000)
            rest = f"{encode_id(play.item_id)},{play.plays!r},{at_us}"
            arguments += [keys.plays_user(play.user_id), encode_id(play.user_id), _digest(play.event_id), rest]
        known = [
            keys.plays_added(mark), keys.PLAYS_STREAM, keys.PLAYS_USERS, keys.PLAYS_REFRESH, keys.PLAYS_REFRESH_SENT,
            keys.PLAYS_COUNTS, *([] if form is None else [form.queue_key]),
        ]  # fmt: skip
        reply: list[int] = self._record(keys=known, args=arguments)
        return reply

    def forget_call(self, call_id: str, n_plays: int) -> None:
        """The id is another call's from now on, which may record up to ``n_plays``."""
        self.redis.delete(*(keys.plays_added(f"{call_id}:{part}") for part in range(-(-n_plays // PLAYS_PER_CALL))))


def _digest(event_id: str | None) -> str:
    # An app's event ids may name a user, who may have to be forgotten; and they may be long.
    return hashlib.blake2b(event_id.encode(), digest_size=12).hexdigest() if event_id else ""
