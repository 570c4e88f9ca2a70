"""PlayStream: the recorded plays that wait in Redis for the history."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import redis

from timbral import keys
from timbral.history.play_rows import RecordedPlay
from timbral.history.watermark import NOTHING, entry_after
from timbral.keys import encode_id
from timbral.redis_server.replies import text

__all__ = ["PlayStream", "StreamEntry"]

ENTRIES_PER_READ: Final = 500
PLAYS_PER_PART: Final = 250_000

CUT = """
-- KEYS: stream, how far the history is. ARGV: the first id to keep, then fields and values. An older state does not
-- replace a newer one.
redis.call('XTRIM', KEYS[1], 'MINID', ARGV[1])
local known = tonumber(redis.call('HGET', KEYS[2], 'total') or '0')
if tonumber(ARGV[3]) >= known then redis.call('HSET', KEYS[2], unpack(ARGV, 2)) end
"""

REPLACE = """
-- KEYS: stream. ARGV: an id that new ones come after, as its milliseconds and its sequence; then of each entry its id,
-- the plays that are to stay, or '', and its total. They get ids of their own, behind all others.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local told, last = redis.call('XINFO', 'STREAM', KEYS[1]), nil
for place = 1, #told, 2 do
  if told[place] == 'last-generated-id' then last = told[place + 1] end
end
local ms, sequence = string.match(last, '^(%d+)-(%d+)$')
ms, sequence = tonumber(ms), tonumber(sequence)
if ms < tonumber(ARGV[1]) or (ms == tonumber(ARGV[1]) and sequence < tonumber(ARGV[2])) then
  redis.call('XSETID', KEYS[1], ARGV[1] .. '-' .. ARGV[2])
end
local kept = 0
for place = 3, #ARGV, 3 do
  if redis.call('XDEL', KEYS[1], ARGV[place]) == 1 and ARGV[place + 1] ~= '' then
    redis.call('XADD', KEYS[1], '*', 'plays', ARGV[place + 1], 'total', ARGV[place + 2])
    kept = kept + 1
  end
end
return kept
"""


class StreamEntry(NamedTuple):
    """Plays that were recorded in one step; ``total`` is how many were recorded with them."""

    id: str
    total: int
    plays: list[RecordedPlay]


class PlayStream:
    """The stream, and how far the history is with it."""

    def __init__(self, redis_client: redis.Redis) -> None:
        self.redis = redis_client
        self._cut = redis_client.register_script(CUT)
        self._replace = redis_client.register_script(REPLACE)

    def last_entry(self) -> str:
        """Id of the newest entry, ``0-0`` for none."""
        newest: Any = self.redis.xrevrange(keys.PLAYS_STREAM, count=1)
        return text(newest[0][0]) if newest else NOTHING

    def part(self, after: str, last: str) -> list[StreamEntry]:
        """The entries after ``after``, up to ``last``: of at most ``PLAYS_PER_PART`` plays or a few more."""
        found: list[StreamEntry] = []
        n_plays = 0
        while n_plays < PLAYS_PER_PART:
            start = entry_after(found[-1].id if found else after)
            read: Any = self.redis.xrange(keys.PLAYS_STREAM, start, last, count=ENTRIES_PER_READ)
            for entry_id, fields in read:
                found.append(_entry(text(entry_id), {text(name): value for name, value in fields.items()}))
                n_plays += len(found[-1].plays)
            if len(read) < ENTRIES_PER_READ:
                break
        return found

    def go_on_behind(self, watermark: str, entries: Sequence[StreamEntry] = ()) -> int:
        """Whatever is recorded from now on comes after ``watermark``, and so does what ``entries`` have, with new ids;
        one without plays goes. Returns how many entries have new ids."""
        n_moved = 0
        for start in range(0, max(1, len(entries)), ENTRIES_PER_READ):
            arguments: list[str | int] = list(watermark.split("-"))
            for entry in entries[start : start + ENTRIES_PER_READ]:
                arguments += [entry.id, _as_json(entry.plays), entry.total]
            n_moved += int(self._replace(keys=[keys.PLAYS_STREAM], args=arguments))
        return n_moved

    def archived(self) -> str:
        """Id of the last entry that was moved into a table, as far as this Redis knows; ``0-0`` for none."""
        return text(self.redis.hget(keys.PLAYS_ARCHIVED, "entry")) or NOTHING

    def cut(self, entry: StreamEntry, table_version: int, at_s: float) -> None:
        """The table has everything up to ``entry``."""
        state: list[str | int] = [
            "total", entry.total, "entry", entry.id, "version", table_version, "at", f"{at_s:.3f}",
        ]  # fmt: skip
        self._cut(keys=[keys.PLAYS_STREAM, keys.PLAYS_ARCHIVED], args=[entry_after(entry.id), *state])


def _entry(entry_id: str, fields: dict[str, Any]) -> StreamEntry:
    recorded_at_us = int(entry_id.partition("-")[0]) * 1_000
    return StreamEntry(entry_id, int(fields["total"]), list(_plays(json.loads(fields["plays"]), recorded_at_us)))


def _plays(listed: Iterable[Any], recorded_at_us: int) -> Iterator[RecordedPlay]:
    for user_id, item_id, n_plays, at_us in listed:
        yield RecordedPlay(user_id, item_id, n_plays, at_us, recorded_at_us)


def _as_json(plays: Iterable[RecordedPlay]) -> str:
    listed = [f"[{encode_id(one.user_id)},{encode_id(one.item_id)},{one.plays!r},{one.at_us}]" for one in plays]
    return f"[{','.join(listed)}]" if listed else ""
